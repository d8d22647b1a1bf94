"""Files that say more than they hold, and things that are no files, where a command expects one."""

import argparse
import os
import signal
import sys

import pytest
import torch

import maetool
from maetool.engine.repeat import RepeatedStep
from maetool.engine.run_lock import LOCK, only_run_in
from maetool.errors import UsageError
from maetool.metadata.stored_config import config_file_of
from maetool.pretrained.convert import convert
from maetool.pretrained.frozen import load_frozen
from maetool.pretrained.initial import load_initial
from maetool.registry import ENCODERS, MODELS
from maetool.testing.tiny import tiny_config, tiny_model
from maetool.visualization.curves import read_logs
from maetool.weights.read import read_checkpoint
from maetool.weights.work_dir import newest_readable

VIT = {"type": "VisionTransformer", "img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
CODES = {"type": "TokenTarget", "source": {"type": "PixelTarget"}}
LARGER = {**VIT, "embed_dim": 24 * 2000}  # 27 GB, which honest weights of this size do not call for


@pytest.fixture
def in_time():
    """End a test that waits."""

    def end(*_):
        pytest.fail("it waited")  # no Exception, which might be caught

    signal.signal(signal.SIGALRM, end)
    signal.alarm(20)
    yield
    signal.alarm(0)


def weights():
    return {f"encoder.{name}": value for name, value in ENCODERS.build(dict(VIT)).state_dict().items()}


def laughs(number=12):
    """Return a list that would have 10^number items if it were copied."""
    inner = [0]
    for _ in range(number):
        inner = [inner] * 10
    return inner


def itself():
    inner = {"type": "VisionTransformer"}
    inner["more"] = inner
    return inner


SPARSE = torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (10**12,), check_invariants=True)
BOMBS = {
    "one number repeated": ({"more": torch.zeros(1).expand(10**12)}, {"encoder": LARGER}),
    "two numbers repeated": ({"more": torch.zeros(1, 2).expand(10**9, 2)}, {"encoder": LARGER}),
    "in the metadata": ({}, {"encoder": VIT, "curve": torch.zeros(1).expand(10**11)}),
    "in a namespace": ({}, {"encoder": VIT, "args": argparse.Namespace(x=torch.zeros(1).expand(10**11))}),
    "the same a thousand times": ({str(n): torch.zeros(1).expand(10**8) for n in range(1000)}, {"encoder": LARGER}),
    "sparse": ({"more": SPARSE}, {"encoder": LARGER}),
    "without numbers": ({"more": torch.empty(10**12, device="meta")}, {"encoder": LARGER}),
    "a list of lists": ({}, {"encoder": {**VIT, "more": laughs()}}),
    "a dict that holds itself": ({}, {"encoder": itself()}),
}
READERS = {
    "load_encoder": maetool.load_encoder,
    "load_frozen": load_frozen,
    "convert": lambda path: convert(path, "timm"),
    "--init": lambda path: load_initial(tiny_model(encoder=dict(VIT)), path),
    "repeat_step": lambda path: RepeatedStep(str(path)).run(),
    "codebook": lambda path: MODELS.build(tiny_config(target={**CODES, "codebook": str(path)})),
    "facts alone": lambda path: read_checkpoint(path, "meta"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("bomb", BOMBS)
def test_more_than_a_checkpoint_holds_is_refused(tmp_path, bomb, reader, in_time):
    more, meta = BOMBS[bomb]
    if reader == "facts alone" and bomb in ("sparse", "without numbers"):
        pytest.skip("there, no tensor has numbers")
    torch.save({"meta": meta, "state_dict": {**weights(), **more}}, tmp_path / "c.pth")
    with pytest.raises(UsageError, match=r"describes more than its .* bytes hold") as caught:
        READERS[reader](tmp_path / "c.pth")
    assert "\n" not in str(caught.value)


def test_a_run_does_not_go_on_from_such_a_file(tmp_path):
    torch.save({"optimizer": {}, "state_dict": {"a": torch.zeros(1).expand(10**12)}}, tmp_path / "epoch_1.pth")
    told = []
    with pytest.raises(UsageError, match="None of the 1 checkpoints"):
        newest_readable(tmp_path, told.append)
    assert "describes more than" in told[0]


def test_weights_that_share_numbers_are_read(tmp_path):
    """Tied weights and views are stored once; small tensors may repeat a number."""
    one = torch.randn(1000, 100)
    state = {"a": one, "b": one, "c": one[::2], "d": one.T, "e": torch.zeros(1).expand(512, 512)}
    torch.save({"state_dict": state, "ema": state}, tmp_path / "c.pth")
    found = read_checkpoint(tmp_path / "c.pth")["state_dict"]
    assert all(torch.equal(found[name], value) for name, value in state.items())


STEP = {"meta": {"iter": 2, "epoch": 1, "seed": 0, "process": 0, "fault": "", "dtype": "float32"}, "plan": None}
ODD_STEPS = {
    "a plan of other names": {"plan": {"x": 1}},
    "a grid that is a number": {"plan": {"grid": 5}},
    "a plan of words": {"plan": {"grid": [4, 4], "mask": "x", "keep": "y"}},
    "a batch that is one number": {"batch": {"inputs": torch.tensor(1)}},
    "images of other axes": {"batch": {"inputs": torch.zeros(2, 3, 5)}},
    "keys that are no whole numbers": {"batch": {"inputs": torch.zeros(2, 3, 32, 32), "key": torch.zeros(9)}},
    "a huge seed": {"meta": {**STEP["meta"], "seed": 10**40}},
}


@pytest.mark.parametrize("odd", ODD_STEPS)
def test_a_step_that_does_not_fit_its_model_is_one_sentence(tmp_path, odd):
    model = tiny_config(encoder=dict(VIT))
    state = {**STEP, "batch": {"inputs": torch.zeros(2, 3, 32, 32, dtype=torch.uint8)}}
    state["state_dict"] = MODELS.build(dict(model)).state_dict()
    state = {**state, **ODD_STEPS[odd]}
    torch.save(state, tmp_path / "step.pth")
    with pytest.raises(UsageError) as caught:
        RepeatedStep(str(tmp_path / "step.pth"), model=model).run()
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes among files")
class TestPipes:
    """Where a command looks for a file by itself, a named pipe is not waited for."""

    def test_lock(self, tmp_path, in_time):
        os.mkfifo(tmp_path / LOCK)
        with pytest.raises(UsageError, match=r"cannot be written \(.lock: "), only_run_in(str(tmp_path)):
            pass

    def test_config_beside_a_checkpoint(self, tmp_path, in_time):
        (tmp_path / "1" / "vis_data").mkdir(parents=True)
        os.mkfifo(tmp_path / "1" / "vis_data" / "config.py")
        (tmp_path / "2" / "vis_data").mkdir(parents=True)
        (tmp_path / "2" / "vis_data" / "config.py").write_text("é = 1\n", encoding="utf-8")
        found = config_file_of({"cfg": "é = 1\n"}, tmp_path / "c.pth")
        assert found == tmp_path / "2" / "vis_data" / "config.py"

    def test_log(self, tmp_path, in_time):
        (tmp_path / "1" / "vis_data").mkdir(parents=True)
        os.mkfifo(tmp_path / "1" / "vis_data" / "scalars.json")
        with pytest.raises(UsageError, match=r"scalars.json cannot be read \(it is not a regular file"):
            read_logs(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_lock_on_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("maetool.engine.run_lock._open", lambda folder: os.open("/dev/full", os.O_RDWR))
    monkeypatch.setattr("maetool.engine.run_lock.os.ftruncate", lambda *_: None)
    with pytest.raises(UsageError, match=r"cannot be written \(.lock: No space left on device\)"):
        only_run_in(str(tmp_path)).__enter__()
