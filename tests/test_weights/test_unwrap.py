"""Weights inside of what other programs wrap around them, and two models in one file."""

import logging
import re

import pytest
import torch

from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.models import ImageClassifier
from maetool.weights import unwrap
from maetool.weights.formats.table import FORMATS
from maetool.weights.read import weights_of

SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
VIT = VisionTransformer(**SIZES).state_dict()
PREFIXES = ["module.", "_orig_mod.", "_fsdp_wrapped_module.", "_forward_module.", "model.", "net.", "backbone."]
PREFIXES += ["student.", "teacher.backbone.", "model.backbone.", "ema.module.", "base_encoder.", "vit.", "lit.my_net."]
PREFIXES += ["_orig_mod.module.", "module._orig_mod.model.", "model.teacher.backbone.", "visual.trunk."]
PLACES = ["state_dict", "model", "net", "params", "params_ema", "ema", "encoder", "weights", "module", "teacher"]


@pytest.fixture(autouse=True)
def _from_the_start():
    unwrap.say.cache_clear()


def same(found):
    expected = {f"encoder.{name}": value for name, value in VIT.items()}
    encoder = {name: value for name, value in found.items() if name.startswith("encoder.")}
    return encoder.keys() == expected.keys() and all(
        torch.equal(found[name], value) for name, value in expected.items()
    )


@pytest.mark.parametrize("naming", ["timm", "transformers", "mmpretrain", "maetool"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_are_taken_off_and_named(prefix, naming, caplog):
    own = {f"encoder.{name}": value for name, value in VIT.items()}
    state = own if naming == "maetool" else FORMATS[naming].from_ours(own)
    with caplog.at_level(logging.WARNING, "maetool"):
        found = weights_of({prefix + name: value for name, value in state.items()}, "x.pth")
        weights_of({prefix + name: value for name, value in state.items()}, "x.pth")
    assert same(found)
    assert all(part in caplog.text for part in prefix.split(".")[:-1])
    assert len(caplog.messages) == len(set(caplog.messages))


@pytest.mark.parametrize("words", ["_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module", "_orig_mod"])
@pytest.mark.parametrize("before", ["", "model.", "encoder."])
def test_words_of_wrappers_inside_of_names(words, before):
    state = {re.sub(r"^(blocks\.\d)\.", rf"\1.{words}.", name): value for name, value in VIT.items()}
    assert same(weights_of({before + name: value for name, value in state.items()}, "x.pth"))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("outer", [(), ("checkpoint",), ("model", "state")])
def test_weights_at_any_depth(place, outer):
    state = {place: VIT, "epoch": 3, "lr": torch.tensor(0.1)}
    state["optimizer"] = {"state": {0: {"exp_avg": torch.zeros(3)}}, "named": {"exp_avg": torch.zeros(3)}}
    for key in outer:
        state = {key: state, "args": {"x": torch.zeros(1)}}
    assert same(weights_of(state, "x.pth"))


def test_a_head_and_a_loss_beside_the_encoder():
    classifier = ImageClassifier({"type": "VisionTransformer", **SIZES}, num_classes=3).state_dict()
    lightning = {f"model.{name}": value for name, value in classifier.items()} | {"loss.weight": torch.ones(3)}
    found = weights_of({"state_dict": lightning, "pytorch-lightning_version": "2.0"}, "x.ckpt")
    assert set(classifier) == set(found) - {"loss.weight"}
    dino = {f"backbone.{name}": value for name, value in VIT.items()} | {"head.mlp.0.weight": torch.ones(3, 3)}
    assert same(weights_of({"teacher": {f"module.{name}": value for name, value in dino.items()}}, "x.pth"))


def test_averages_count_beside_the_weights():
    ema = {f"module.{name}": value for name, value in VIT.items()} | {"n_averaged": torch.tensor(4)}
    assert same(weights_of({"ema": ema}, "x.pth"))


@pytest.mark.parametrize("pair", [("student.", "teacher."), ("base_encoder.", "momentum_encoder."), ("net.", "ema.")])
def test_two_models_are_asked_about(pair):
    state = {prefix + name: value for prefix in pair for name, value in VIT.items()}
    with pytest.raises(UsageError, match=rf"under {pair[0]} and under {pair[1]}.*removeprefix\(\"{pair[0]}\"\)"):
        weights_of({"model": state}, "x.pth")
    with pytest.raises(UsageError, match=r"student and in deep\.teacher, so the choice"):
        weights_of({"student": VIT, "deep": {"teacher": VIT}}, "x.pth")


def test_a_prefix_on_some_names_only_may_hide_two_models():
    with pytest.raises(UsageError, match="holds cls_token twice, with and without"):
        weights_of({f"{prefix}{name}": value for prefix in ("", "module.") for name, value in VIT.items()}, "x.pth")


def test_flat_shards_are_refused():
    with pytest.raises(UsageError, match="flattened shards of FSDP"):
        weights_of(
            {"_fsdp_wrapped_module._flat_param": torch.zeros(9), "blocks.0._flat_param": torch.zeros(9)}, "x.pth"
        )


def test_names_of_a_runner_are_its_models():
    state = {f"backbone.encoder.{name}": value for name, value in VIT.items()} | {"neck.module.weight": torch.ones(1)}
    assert set(weights_of({"meta": {}, "state_dict": state, "ema_state_dict": VIT}, "x.pth")) == set(state)
    wrapped = {f"module.{name}": value for name, value in state.items()}
    assert "backbone.encoder.cls_token" in weights_of({"meta": {}, "state_dict": wrapped}, "x.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_that_are_no_numbers_are_refused(value, dtype):
    broken = VIT["blocks.1.mlp.fc1.bias"].to(dtype).clone()
    broken[3] = value
    with pytest.raises(UsageError, match=r"encoder\.blocks\.1\.mlp\.fc1\.bias has NaN or infinite values, as have 1"):
        weights_of({**VIT, "blocks.1.mlp.fc1.bias": broken}, "x.pth")
    large = torch.full((9,), torch.finfo(dtype).max, dtype=dtype)  # whose sum is none, of the narrow ones
    weights_of({**VIT, "blocks.1.mlp.fc1.bias": large}, "x.pth")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32])
def test_quantised_weights_are_refused(dtype):
    with pytest.raises(UsageError, match=rf"1 weights are of the type {dtype} \(first encoder\.blocks\.1\.mlp\.fc1"):
        weights_of({**VIT, "blocks.1.mlp.fc1.weight": VIT["blocks.1.mlp.fc1.weight"].to(dtype)}, "x.pth")
    weights_of({**VIT, "bn.num_batches_tracked": torch.tensor(3), "relative_position_index": torch.eye(2).int()}, "x")


def test_positions_without_an_axis_of_images():
    learned = torch.rand(1, 5, 16)
    assert torch.equal(weights_of({**VIT, "pos_embed": learned[0]}, "x.pth")["encoder.pos_embed"], learned)


@pytest.mark.parametrize("beside", ["decoder", "criterion", "head"])
@pytest.mark.parametrize("outer", [(), ("checkpoint",)])
def test_what_is_left_out_beside_the_weights_is_named(beside, outer, caplog):
    state = {"encoder": VIT, beside: {"a.weight": torch.zeros(2), "b": torch.zeros(2)}, "optimizer": {"x": VIT}}
    for key in outer:
        state = {key: state}
    with caplog.at_level(logging.WARNING, "maetool"):
        assert same(weights_of(state, "x.pth"))
    place = ".".join([*outer, "encoder"])
    left_out = ".".join([*outer, beside])
    assert f"the weights are those in {place}; left out: {left_out} (2 tensors)." in caplog.text
