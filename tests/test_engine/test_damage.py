"""One changed bit anywhere in a file that maetool writes is noticed, or changes nothing that is read."""

import random

import numpy as np
import pytest
import torch
from bits import places, with_changed_bit
from mmengine import ConfigDict
from safetensors.torch import load_file, save_file

from maetool.errors import UsageError
from maetool.pretrained.convert import convert, write_conversion
from maetool.pretrained.export import describe, encoder_of, write_weights
from maetool.pretrained.extract import write_features
from maetool.pretrained.frozen import build_frozen
from maetool.pretrained.graphs import read_onnx_facts, write_onnx
from maetool.reading import read_npz
from maetool.testing.tiny import tiny_config, tiny_model
from maetool.weights.checksums import checksum_of, differs, sealed
from maetool.weights.read import read_checkpoint
from maetool.weights.write import write_checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "trained.pth"
    config = tiny_config(encoder={"img_size": (16, 16), "patch_size": 4})
    facts = {name: config[name] for name in ("encoder", "data_preprocessor")}
    model = tiny_model(encoder={"img_size": (16, 16), "patch_size": 4})
    write_checkpoint({"meta": facts, "state_dict": model.state_dict()}, path)
    return path


def export(trained, path):
    write_weights(encoder_of(read_checkpoint(trained), str(trained)), path)


def features(trained, path):
    values = np.random.default_rng(0).normal(size=(20, 24)).astype(np.float32)
    write_features(path, values, [f"{number}.png" for number in range(20)], None, [])


def codebook(trained, path):
    write_checkpoint({"meta": {"units": "normalised"}, "state_dict": {"codebook": torch.randn(9, 48)}}, path)


WRITERS = {
    "encoder.safetensors": export,
    "encoder.pth": export,
    "model.safetensors": lambda trained, path: write_conversion(convert(trained, "transformers"), "transformers", path),
    "ours.safetensors": lambda trained, path: write_conversion(convert(trained, "maetool"), "maetool", path),
    "mae.pth": lambda trained, path: write_conversion(convert(trained, "mae"), "mae", path),
    "codebook.pth": codebook,
    "features.npz": features,
}


def read(path):
    return read_npz(path) if path.suffix == ".npz" else read_checkpoint(path)


def same(one, other):
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    return np.array_equal(one, other)


def read_damaged(path, content, place, bit, reader):
    """Return what is read of a file one bit of which is changed; None where the damage is told in one line."""
    path.write_bytes(with_changed_bit(content, place, bit))
    try:
        return reader(path)
    except (UsageError, ValueError) as error:
        return None if "\n" not in str(error) else str(error)


@pytest.mark.parametrize("name", WRITERS)
def test_one_changed_bit_is_noticed(trained, tmp_path, name):
    path = tmp_path / name
    WRITERS[name](trained, path)
    content, before = path.read_bytes(), read(path)
    noticed = 0
    for place, bit in places(len(content), random.Random(name), 60):
        found = read_damaged(path, content, place, bit, read)
        noticed += found is None
        assert found is None or same(before, found), (place, bit)
    assert noticed > 120  # of 240; in archives each name is there twice, and one of them is not read


def test_files_of_others_and_older_ones_carry_no_checksum(trained, tmp_path):
    export(trained, tmp_path / "a.safetensors")
    weights = load_file(tmp_path / "a.safetensors")
    save_file(weights, tmp_path / "b.safetensors", {"format": "pt", "maetool": '{"epoch": 3}'})
    assert read_checkpoint(tmp_path / "b.safetensors")["meta"] == {"epoch": 3}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_the_checksum_is_of_everything(dtype):
    weights = {"a": torch.ones(2, 3).to(dtype), "b": torch.zeros(()), "c": torch.zeros(0, 4)}
    stored = checksum_of(weights, "x")
    assert stored == checksum_of(dict(reversed(weights.items())), "x")
    assert not differs(stored, weights, "x") and not differs(None, weights)
    changed = {
        "facts": (weights, "y"),
        "name": ({**weights, "d": weights["a"]}, "x"),
        "shape": ({**weights, "a": weights["a"].T}, "x"),
        "type": ({**weights, "b": torch.zeros((), dtype=torch.int32)}, "x"),
        "number": ({**weights, "a": weights["a"] * torch.tensor([1, 1, 0]).to(dtype)}, "x"),
        "empty": ({**weights, "c": torch.zeros(4, 0)}, "x"),
    }
    assert [name for name, (other, facts) in changed.items() if not differs(stored, other, facts)] == []


def test_a_changed_bit_of_onnx_is_noticed(tmp_path):
    pytest.importorskip("onnxscript")
    section = {name: part for name, part in tiny_config().items() if name in ("encoder", "data_preprocessor")}
    model = build_frozen(section)
    path = tmp_path / "encoder.onnx"
    write_onnx(model, describe(ConfigDict(section)), path)
    content, before = path.read_bytes(), read_onnx_facts(path)
    assert before["encoder"]["type"] == "VisionTransformer"
    noticed = 0
    for place, bit in places(len(content), random.Random(0), 30):
        found = read_damaged(path, content, place, bit, read_onnx_facts)
        noticed += found is None
        # Where it is not, the name of the checksum was hit.
        assert found is None or (found == before and b"maetool_checksum" not in path.read_bytes())
    assert noticed >= 110
    with pytest.raises(ValueError, match="no place"):
        sealed(content)
