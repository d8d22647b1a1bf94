"""Images go to an accelerator on a stream of their own."""

from contextlib import nullcontext

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from maetool.engine.sending import Sender


class Stream:
    """Notes what it waits for."""

    def __init__(self, *_):
        self.waited = []

    def wait_stream(self, other):
        self.waited.append(other)


def test_images_go_ahead_of_the_step(monkeypatch):
    present, used = Stream(), []
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: used.append(stream) or nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: present)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: used.append((self.shape, stream)))
    send = Sender(torch.device("cuda"))
    with FakeTensorMode():
        batch = {"inputs": {"a": torch.zeros(2, 3), "b": torch.zeros(4)}, "key": torch.zeros(2), "path": ["x", "y"]}
        sent = send(batch)
    assert [value.device.type for value in (*sent["inputs"].values(), sent["key"])] == ["cuda", "cuda", "cpu"]
    assert batch["inputs"]["a"].device.type == "cpu" and sent["path"] == ["x", "y"]
    assert present.waited == used[:1] and used[1:] == [((2, 3), present), ((4,), present)]


def test_a_cpu_gets_the_batch_itself():
    batch = {"inputs": torch.zeros(2)}
    assert Sender(torch.device("cpu"))(batch) is batch
