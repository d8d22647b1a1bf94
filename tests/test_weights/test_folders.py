"""Folders as the hub, transformers' Trainer and programs that write shards leave them."""

import json

import pytest
import torch
from safetensors.torch import save_file

import maetool
from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.weights.formats.table import FORMATS
from maetool.weights.read import read_checkpoint, weights_of

SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    state = VisionTransformer(**SIZES).state_dict()
    return FORMATS["transformers"].from_ours({f"encoder.{name}": value for name, value in state.items()})


def split(folder, weights, ending):
    """Write weights in two shards and their index."""
    stem = {"safetensors": "model", "bin": "pytorch_model"}[ending]
    names, files = list(weights), [f"{stem}-0000{i}-of-00002.{ending}" for i in (1, 2)]
    places = {name: files[i % 2] for i, name in enumerate(names)}
    for file in files:
        shard = {name: weights[name] for name in names if places[name] == file}
        save_file(shard, folder / file) if ending == "safetensors" else torch.save(shard, folder / file)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


def same(source, weights):
    loaded, expected = weights_of(read_checkpoint(source), source), weights_of(weights, "expected")
    return loaded.keys() == expected.keys() and all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_a_snapshot_of_the_hub_with_both_kinds_of_weights(tmp_path, weights):
    save_file(weights, tmp_path / "model.safetensors")
    torch.save({}, tmp_path / "pytorch_model.bin")
    assert same(tmp_path, weights)


def test_a_checkpoint_of_transformers_trainer(tmp_path, weights):
    for name in ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "rng_state_0.pth", "training_args.bin"):
        torch.save({"state": torch.ones(3)}, tmp_path / name)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    assert same(tmp_path, weights)


def test_the_folder_around_checkpoints_names_the_newest(tmp_path, weights):
    (tmp_path / "checkpoint-20").mkdir()
    save_file(weights, tmp_path / "checkpoint-20/model.safetensors")
    with pytest.raises(UsageError, match=r"holds none: .*, or the folder .*checkpoint-20"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards(tmp_path, weights, ending):
    index = split(tmp_path, weights, ending)
    assert same(tmp_path, weights)
    assert same(index, weights)
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 2}))
    assert maetool.load_encoder(tmp_path).encoder.num_layers == 2


def test_shards_of_two_models_are_refused(tmp_path, weights):
    index = split(tmp_path, weights, "safetensors")
    save_file({"x": torch.ones(1)}, tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(UsageError, match=r"^model-00001-of-00002.safetensors holds other tensors"):
        read_checkpoint(index)
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(UsageError, match=r"no checkpoint .*model-00001-of-00002"):
        read_checkpoint(index)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"weight_map": {"x": "../x.bin"}}', '{"weight_map": {"x": 3}}', '{"weight_map": []}']
)
def test_a_damaged_index_is_one_sentence(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UsageError, match=r"is no index of weights in shards"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("prefix", ["model.", "module.", "net.backbone."])
def test_prefixes_in_safetensors_are_taken_off_too(tmp_path, weights, prefix):
    save_file({prefix + name: value for name, value in weights.items()}, tmp_path / "x.safetensors")
    assert same(tmp_path / "x.safetensors", weights)
