"""Checkpoints are whole or absent, and reading one runs no code."""

import os
import pickle
import re
import resource

import numpy as np
import pytest
import torch
from warm import run_warm

from maetool.errors import OutputError, UsageError
from maetool.parallel.loading import load_weights
from maetool.testing import tiny_model
from maetool.weights.read import read_checkpoint, weights_of
from maetool.weights.work_dir import checkpoints_in, newest_readable, save_as_last
from maetool.weights.write import to_plain, write_checkpoint
from maetool.writing import as_output_error


class Malicious:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def test_round_trip(tmp_path):
    state = {"state_dict": {"a": torch.arange(3)}, "meta": {"lr": np.float64(0.1), "shape": (1, 2), "none": None}}
    write_checkpoint(state, tmp_path / "deep" / "x.pth")
    read = read_checkpoint(tmp_path / "deep" / "x.pth")
    assert torch.equal(read["state_dict"]["a"], torch.arange(3))
    assert read["meta"] == {"lr": 0.1, "shape": [1, 2], "none": None}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.pth"]


def test_anything_but_plain_values_is_refused_when_written(tmp_path):
    with pytest.raises(TypeError, match="not a object"):
        to_plain({"a": object()})


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_not_run(tmp_path, zipped):
    path = tmp_path / "evil.pth"
    payload = {"state_dict": {"a": torch.zeros(1)}, "x": Malicious(tmp_path / "ran")}
    torch.save(payload, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UsageError, match=r"could run code, so it is refused.*keep the weights alone: x = torch"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_bare_pickle_with_code_is_refused(tmp_path):
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(Malicious(tmp_path / "ran")))
    with pytest.raises(UsageError):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated(tmp_path, share):
    path = tmp_path / "x.pth"
    write_checkpoint({"state_dict": tiny_model().state_dict()}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UsageError, match="damaged or truncated"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize("content", [b"hello", b"\x89PNG\r\n\x1a\n" * 40])
def test_not_a_checkpoint(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(f"is not a checkpoint (it begins with {content[:9]!r})")):
        read_checkpoint(path)


def test_zeros_are_damage(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(bytes(5000))
    with pytest.raises(UsageError, match="damaged or truncated"):
        read_checkpoint(path)


def test_missing_folder_and_weightless(tmp_path):
    with pytest.raises(UsageError, match="There is no checkpoint"):
        read_checkpoint(tmp_path / "x.pth")
    with pytest.raises(UsageError, match="must hold one file of weights, but holds none"):
        read_checkpoint(tmp_path)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UsageError, match="holds a list and no weights"):
        read_checkpoint(tmp_path / "list.pth")
    torch.save({"meta": {}}, tmp_path / "meta.pth")
    with pytest.raises(UsageError, match="holds no weights"):
        weights_of(read_checkpoint(tmp_path / "meta.pth"), "meta.pth")


def test_another_architecture(tmp_path):
    before = {name: value.clone() for name, value in tiny_model().state_dict().items()}
    model = tiny_model()
    wide = tiny_model(encoder={"embed_dim": 48}).state_dict()
    with pytest.raises(UsageError, match=r"another architecture than the config's.* of another shape .first"):
        load_weights(model, wide, "wide.pth")
    deep = tiny_model(encoder={"depth": 3}).state_dict()
    with pytest.raises(UsageError, match=r"12 unknown to the model \(first encoder.blocks.2"):
        load_weights(model, deep, "deep.pth")
    encoder_only = {name: value for name, value in before.items() if name.startswith("encoder.")}
    with pytest.raises(UsageError, match=r"missing in the file \(first decoder"):
        load_weights(model, encoder_only, "encoder.pth")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_full_disk_keeps_what_was_there(tmp_path):
    code = f"""
import resource, torch
from pathlib import Path
from maetool.weights.write import write_checkpoint
from maetool.errors import OutputError, UsageError
path = Path({str(tmp_path)!r}) / "x.pth"
write_checkpoint({{"state_dict": {{"a": torch.zeros(10)}}}}, path)
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_checkpoint({{"state_dict": {{"a": torch.zeros(1_000_000)}}}}, path)
except UsageError as error:
    print(error)
"""
    assert resource.RLIMIT_FSIZE is not None
    result = run_warm(["-c", code], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "could not be written" in result.stdout
    assert "An existing file is unchanged" in result.stdout
    assert read_checkpoint(tmp_path / "x.pth")["state_dict"]["a"].shape == (10,)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


@pytest.mark.parametrize(
    ("said", "raised"),
    [("unexpected pos 64 vs 0", OutputError), ("DataLoader worker (pid 7) is killed by signal: Killed.", RuntimeError)],
)
def test_only_what_the_disk_says_is_called_a_failure_to_write(tmp_path, said, raised):
    with pytest.raises(raised) as caught, as_output_error(tmp_path / "x.pth"):
        raise RuntimeError(said)
    assert caught.type is raised


def test_newest_and_pointer(tmp_path):
    for number in (1, 2, 3):
        write_checkpoint({"state_dict": {"a": torch.zeros(1)}}, tmp_path / f"epoch_{number}.pth")
        os.utime(tmp_path / f"epoch_{number}.pth", (number, number))
    assert checkpoints_in(tmp_path)[0].name == "epoch_3.pth"
    save_as_last(tmp_path / "epoch_2.pth")
    assert [path.stem for path in checkpoints_in(tmp_path)] == ["epoch_2", "epoch_3", "epoch_1"]
    save_as_last(tmp_path / "gone.pth")
    said = []
    assert newest_readable(tmp_path, said.append).name == "epoch_3.pth"
    assert not said
    (tmp_path / "epoch_3.pth").write_bytes(b"")
    assert newest_readable(tmp_path, said.append).name == "epoch_2.pth"
    assert "epoch_3.pth is damaged" in said[0]
    for path in tmp_path.glob("*.pth"):
        path.write_bytes(b"")
    with pytest.raises(UsageError, match="None of the 3 checkpoints"):
        newest_readable(tmp_path, said.append)
    assert newest_readable(tmp_path / "empty", said.append) is None
