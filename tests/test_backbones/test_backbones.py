"""Pyramids of four maps, for our models and for those of other toolboxes."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT
from mmengine.registry import Registry

from maetool.backbones import LayerPyramid, UPerNetBackbone, ViTDetBackbone, feature_maps
from maetool.encoders import VisionTransformer
from maetool.errors import UsageError

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
