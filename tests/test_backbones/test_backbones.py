"""Pyramids of four maps, for our models and for those of other toolboxes."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, Registry

from maetool.backbones import LayerPyramid, UPerNetBackbone, ViTDetBackbone, feature_maps
from maetool.encoders import VisionTransformer
from maetool.engine.optim.layer_decay import LayerDecayConstructor, layer_decay_groups
from maetool.errors import UsageError
from maetool.models import ObjectDetector, Segmentor
from maetool.ops.pos_embed import resize_pos_embed

OTHER = Registry("model", parent=ROOT, scope="some_toolbox")
PLAIN = {"type": "VisionTransformer", "img_size": 64, "embed_dim": 16, "depth": 4, "num_heads": 2}
WINDOWED = {**PLAIN, "type": "WindowedTransformer", "window_size": 3, "global_blocks": [3], "final_norm": False}


@pytest.mark.parametrize(
    ("name", "encoder", "channels"), [("ViTDetBackbone", WINDOWED, 8), ("UPerNetBackbone", PLAIN, 16)]
)
@pytest.mark.parametrize("size", [(64, 64), (96, 32), (70, 50)])
def test_a_config_of_another_toolbox_names_a_backbone(name, encoder, channels, size):
    Config({"custom_imports": {"imports": ["maetool.backbones"]}})
    options = {"out_channels": 8} if name == "ViTDetBackbone" else {}
    backbone = OTHER.build({"type": f"maetool.{name}", "encoder": dict(encoder), **options})
    maps = backbone(torch.randn(2, 3, *size))
    grid = [-(-side // 16) for side in size]
    expected = [[4 * side for side in grid], [2 * side for side in grid], grid, [-(-side // 2) for side in grid]]
    assert [list(level.shape) for level in maps] == [[2, channels, *sides] for sides in expected]
    assert backbone.out_channels == channels
    assert backbone.strides == [(4, 4), (8, 8), (16, 16), (32, 32)]
    sum(level.square().mean() for level in maps).backward()
    idle = [name for name, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == ([] if name == "ViTDetBackbone" else ["encoder.norm.weight", "encoder.norm.bias"])


def test_maps_are_the_patch_tokens_in_their_places():
    torch.manual_seed(0)
    encoder = VisionTransformer(**{name: value for name, value in PLAIN.items() if name != "type"}).eval()
    images = torch.randn(1, 3, 32, 48)
    first, last = feature_maps(encoder, images, [1, -1])
    tokens = encoder(images, layers=[1, 4])
    assert torch.equal(first[0, :, 1, 2], tokens[0][0, 1 + 1 * 3 + 2])
    assert torch.equal(last[0, :, 0, 1], tokens[1][0, 1 + 1])


def test_layers_of_the_published_recipes():
    assert LayerPyramid(8, 12).layers == [3, 6, 9, 12]
    assert LayerPyramid(8, 12, [4, 6, 8, 12]).layers == [4, 6, 8, 12]


def test_what_makes_no_pyramid_is_named():
    with pytest.raises(UsageError, match="made of 4"):
        UPerNetBackbone(dict(PLAIN), layers=[1, 2])
    with pytest.raises(UsageError, match="multiples of 4"):
        ViTDetBackbone({**PLAIN, "img_size": 60, "patch_size": 6})


def plain_encoder():
    return VisionTransformer(**{name: value for name, value in PLAIN.items() if name != "type"})


def write_plain(path, key, prefix):
    """A plain encoder, and a file with its weights."""
    torch.manual_seed(0)
    plain = plain_encoder()
    torch.save({key: {prefix + name: value for name, value in plain.state_dict().items()}}, path)
    return plain


# As a runner of ours writes it, and as facebookresearch/mae does.
@pytest.mark.parametrize(("key", "prefix"), [("state_dict", "encoder."), ("model", "")])
@pytest.mark.parametrize(("name", "encoder"), [("ViTDetBackbone", WINDOWED), ("UPerNetBackbone", PLAIN)])
def test_another_toolbox_loads_the_weights(tmp_path, name, encoder, key, prefix):
    plain = write_plain(tmp_path / "weights.pth", key, prefix)
    init = {"type": "Pretrained", "checkpoint": str(tmp_path / "weights.pth")}
    config = {**encoder, "img_size": (32, 96), "pos_embed": "learned"}
    backbone = OTHER.build({"type": f"maetool.{name}", "encoder": config, "init_cfg": init})
    backbone.init_weights()
    loaded = backbone.encoder.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in plain.state_dict().items() if "blocks" in name)
    kept = backbone.encoder.num_prefix_tokens
    expected = resize_pos_embed(plain.pos_embed[:, 1 - kept :], (4, 4), (2, 6), kept)
    assert torch.equal(backbone.encoder.pos_embed, expected)
    own = backbone.state_dict()
    more = {name: value + 1 for name, value in own.items()}
    backbone.load_state_dict(dict(more))
    assert all(torch.equal(value, more[name]) for name, value in backbone.state_dict().items())


def test_weights_that_another_toolbox_reads_itself():
    backbone, plain = UPerNetBackbone(PLAIN), plain_encoder()
    assert not backbone.load_state_dict(plain.state_dict(), strict=False).unexpected_keys
    assert torch.equal(backbone.encoder.blocks[0].attn.qkv.weight, plain.blocks[0].attn.qkv.weight)


def test_weights_that_fill_too_little_are_refused(tmp_path):
    write_plain(tmp_path / "weights.pth", "model", "")
    init = {"type": "Pretrained", "checkpoint": str(tmp_path / "weights.pth")}
    wider = UPerNetBackbone({**PLAIN, "embed_dim": 32}, init_cfg=init)
    with pytest.raises(UsageError, match=r"weights.pth fills 0.0% of the encoder.*cls_token.*Pass a checkpoint"):
        wider.init_weights()


def test_positions_of_no_square_are_refused():
    backbone = UPerNetBackbone({**PLAIN, "pos_embed": "learned"})
    state = {**backbone.state_dict(), "encoder.pos_embed": torch.zeros(1, 8, 16)}
    with pytest.raises(UsageError, match="positions for 7 patches, which is no square"):
        backbone.load_state_dict(state)


def test_layer_decay_finds_the_encoder_of_another_toolbox():
    model = torch.nn.Module()
    model.backbone = ViTDetBackbone(dict(WINDOWED))
    model.head = torch.nn.Linear(2, 2)
    Config({"custom_imports": {"imports": ["maetool.engine"]}})
    assert OPTIM_WRAPPER_CONSTRUCTORS.get("maetool.LayerDecayConstructor") is LayerDecayConstructor
    groups = layer_decay_groups(model, 0.5)
    assert [group["layer"] for group in groups] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert groups[0]["lr_scale"] == 0.5**5
    last = {id(p) for group in groups[-2:] for p in group["params"]}
    assert last == {id(p) for part in (model.backbone.pyramid, model.head) for p in part.parameters()}


SWIN = {
    "type": "SwinTransformer",
    "img_size": 32,
    "embed_dim": 8,
    "depths": (1, 1),
    "num_heads": (1, 1),
    "window_size": 4,
}


@pytest.mark.parametrize(
    "build",
    [
        lambda: Segmentor(SWIN, 3, {"type": "LinearMapHead"}),
        lambda: ObjectDetector(SWIN, 3),
        lambda: ViTDetBackbone(SWIN),
    ],
)
def test_an_encoder_whose_tokens_are_no_map_of_its_patches_is_refused(build):
    with pytest.raises(UsageError, match="token of SwinTransformer covers 8x8 pixels and not one patch of 4x4, so"):
        build()


def test_learned_positions_are_resized_from_the_grid_that_the_file_records(tmp_path):
    tall, wide = ({**PLAIN, "img_size": size, "pos_embed": "learned"} for size in ((64, 16), (16, 64)))
    source = VisionTransformer(**{name: value for name, value in tall.items() if name != "type"})
    torch.nn.init.normal_(source.pos_embed)
    state = {f"encoder.{name}": value for name, value in source.state_dict().items()}
    meta = {"cfg": f"model = dict(encoder={tall!r})"}
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "tall.pth")
    backbone = UPerNetBackbone(wide, init_cfg={"type": "Pretrained", "checkpoint": str(tmp_path / "tall.pth")})
    backbone.init_weights()
    assert torch.equal(backbone.encoder.pos_embed, resize_pos_embed(source.pos_embed, (4, 1), (1, 4), 1))
