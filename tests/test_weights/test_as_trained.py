"""The options that a refused --init names."""

import copy
import shlex

import pytest
from mmengine import Config

from maetool import load_encoder
from maetool.config.options import change_config
from maetool.errors import UsageError
from maetool.pretrained.as_trained import options_as_trained
from maetool.pretrained.initial import load_initial
from maetool.testing import tiny_config, tiny_model
from maetool.weights.write import write_checkpoint

HERE = {
    "encoder": {
        "type": "VisionTransformer",
        "img_size": 32,
        "patch_size": 4,
        "in_chans": 3,
        "depth": 2,
        "drop_path_rate": 0.1,
    },
    "data_preprocessor": {"type": "ImagePreprocessor", "mean": [1.0, 2.0, 3.0]},
}


@pytest.mark.parametrize(
    ("encoder", "images", "options"),
    [
        ({"img_size": 32, "patch_size": 4, "depth": 2}, {"mean": (1.0, 2.0, 3.0)}, ""),
        (
            {"img_size": [64, 32], "patch_size": 8},
            {"mean": [1.0, 2.0, 3.0]},
            "'model.encoder.img_size=[64,32]' model.encoder.patch_size=8 model.encoder.depth=12",
        ),
        (
            {"img_size": 32, "patch_size": 4, "depth": 2, "in_chans": 1},
            {"mean": [7.5], "std": [2.5]},
            "model.encoder.in_chans=1 'model.data_preprocessor.mean=[7.5]' 'model.data_preprocessor.std=[2.5]'",
        ),
    ],
)
def test_the_options_of_an_encoder_as_it_was_trained(encoder, images, options):
    meta = {"encoder": {"type": "VisionTransformer", **encoder}}
    meta["data_preprocessor"] = {"type": "ImagePreprocessor", **images}
    assert shlex.join(options_as_trained(HERE, meta)) == options
    cfg = Config({"model": copy.deepcopy(HERE)})
    change_config(cfg, options.replace("'", "").split())
    assert options_as_trained(cfg.model, meta) == [], "a config with these options builds it"


def test_another_number_of_heads_than_recorded_is_refused(tmp_path):
    """Its weights would be read, and mean nothing."""
    section = dict(tiny_config()["encoder"])
    meta = {"encoder": section, "data_preprocessor": {"type": "ImagePreprocessor"}}
    write_checkpoint({"meta": meta, "state_dict": tiny_model().state_dict()}, tmp_path / "x.pth")
    heads = section["num_heads"]
    assert load_encoder(tmp_path / "x.pth", num_heads=heads).encoder.blocks[0].attn.num_heads == heads
    with pytest.raises(UsageError, match=r"num_heads is 1, but .*x.pth records \d attention heads: leave it out"):
        load_encoder(tmp_path / "x.pth", num_heads=1)


def test_an_encoder_with_windows_is_shaped_as_the_plain_one():
    here = {"encoder": {"type": "WindowedTransformer", "img_size": 64, "depth": 4, "window_size": 4}}
    meta = {"encoder": {"type": "VisionTransformer", "img_size": 48, "embed_dim": 64, "depth": 4, "class_token": False}}
    assert options_as_trained(here, meta) == ["model.encoder.img_size=48", "model.encoder.embed_dim=64"]
    assert options_as_trained({"encoder": {"type": "SwinTransformer"}}, meta) == []


@pytest.mark.parametrize("meta", [None, {}, {"encoder": {"type": "Nothing", "depth": 3}}, {"encoder": 5}])
def test_nothing_is_named_where_the_checkpoint_does_not_tell(meta):
    assert options_as_trained(HERE, meta) == []


def test_the_refusal_ends_in_the_options(tmp_path):
    state = {"state_dict": tiny_model(encoder={"depth": 1, "embed_dim": 48}).state_dict()}
    state["meta"] = {
        "encoder": {"type": "VisionTransformer", "embed_dim": 48, "img_size": 32, "patch_size": 4, "depth": 2}
    }
    with pytest.raises(UsageError, match=r"to that of the checkpoint: --cfg-options model.encoder.embed_dim=48 .*mean"):
        load_initial(tiny_model(), "x.pth", state=state, config=HERE)


def test_the_refusal_of_an_incomplete_encoder_ends_in_the_options(tmp_path):
    state = {"state_dict": tiny_model(encoder={"class_token": False}).state_dict()}
    state["meta"] = {"encoder": {"type": "VisionTransformer", "class_token": False}}
    match = r"missing \(encoder.cls_token\).* that of the checkpoint: --cfg-options model.encoder.class_token=False "
    with pytest.raises(UsageError, match=match):
        load_initial(tiny_model(), "x.pth", state=state, config=HERE)
