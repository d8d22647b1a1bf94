"""One of several models in a checkpoint, by its key or by the prefix of its names."""

import pytest
import torch

import maetool
from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.pretrained.convert import convert
from maetool.weights.pick import pick
from maetool.weights.read import read_checkpoint, weights_of

SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


def vit(seed):
    torch.manual_seed(seed)
    return VisionTransformer(**SIZES).eval()


FIRST, SECOND = vit(0), vit(1)
IMAGES = torch.randn(2, 3, 16, 16)


def named(encoder, prefix=""):
    return {prefix + name: value for name, value in encoder.state_dict().items()}


TWO_KEYS = {"state_dict": named(FIRST), "state_dict_ema": named(SECOND, "module."), "epoch": 3}
DEEP = {"checkpoint": {"model": named(FIRST), "model_ema": named(SECOND)}}
DOTTED = {"my.model": named(FIRST), "my.teacher": named(SECOND)}
TWO_PREFIXES = {"model": {**named(FIRST, "student.backbone."), **named(SECOND, "teacher.backbone.")}}
OF_A_RUNNER = {"meta": {}, "state_dict": named(FIRST), "ema_state_dict": named(SECOND, "module.")}


@pytest.mark.parametrize(
    ("content", "picked"),
    [
        (TWO_KEYS, {"key": "state_dict_ema"}),
        (DEEP, {"key": "checkpoint.model_ema"}),
        (DOTTED, {"key": "my.teacher"}),
        (TWO_PREFIXES, {"prefix": "teacher.backbone."}),
        (TWO_PREFIXES, {"key": "model", "prefix": "teacher.backbone"}),
        ({**named(FIRST, "net."), **named(SECOND, "target_encoder.")}, {"prefix": "target_encoder"}),
        (OF_A_RUNNER, {"key": "ema_state_dict"}),
    ],
)
def test_one_of_two_models(tmp_path, content, picked):
    torch.save(content, tmp_path / "x.pth")
    encoder = maetool.load_encoder(tmp_path / "x.pth", num_heads=2, **picked)
    assert torch.equal(encoder(IMAGES), SECOND(IMAGES))
    state = convert(tmp_path / "x.pth", "timm", num_heads=2, **picked).content["state_dict"]
    assert torch.equal(state["blocks.0.attn.qkv.weight"], SECOND.blocks[0].attn.qkv.weight)


def test_with_a_config(tmp_path):
    torch.save(TWO_KEYS, tmp_path / "x.pth")
    (tmp_path / "c.py").write_text(f"model = dict(encoder=dict(type='VisionTransformer', **{SIZES}))")
    encoder = maetool.load_encoder(tmp_path / "x.pth", config=tmp_path / "c.py", key="state_dict_ema")
    assert torch.equal(encoder(IMAGES), SECOND(IMAGES))


@pytest.mark.parametrize(
    ("picked", "reason"),
    [
        ({"key": "ema"}, "no weights under the key ema: choose state_dict, state_dict_ema"),
        ({"key": "state_dict", "prefix": "teacher"}, "begin with teacher.: their names begin with cls_token., pos_"),
        ({"prefix": "teacher"}, r'ambiguous: pick one with load_encoder\(key="state_dict"\)'),
    ],
)
def test_what_is_not_there_is_one_sentence(picked, reason):
    with pytest.raises(UsageError, match=reason):
        pick(TWO_KEYS, "x.pth", **picked)


def test_without_a_choice_nothing_changes(tmp_path):
    torch.save({"model": named(FIRST)}, tmp_path / "x.pth")
    state = read_checkpoint(tmp_path / "x.pth")
    assert weights_of(pick(state, "x"), "x").keys() == weights_of(state, "x").keys()
