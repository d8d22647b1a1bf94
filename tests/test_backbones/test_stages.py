"""Pyramids of the stages of a hierarchical encoder, also of images that do not divide into its patches."""

import pytest
import torch
from torch import nn

from maetool.backbones import StageFPN, StagePyramid, build_pyramid, feature_maps
from maetool.encoders import HybridTransformer
from maetool.errors import UsageError
from maetool.models import ObjectDetector, Segmentor

HYBRID = {
    "type": "HybridTransformer",
    "img_size": 64,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "conv_dims": (8, 16),
    "conv_depths": (1, 1),
    "final_norm": False,
}
PLAIN = {"type": "VisionTransformer", "img_size": 64, "embed_dim": 16, "depth": 4, "num_heads": 2}
SWIN = {"type": "SwinTransformer", "img_size": 64, "embed_dim": 8, "depths": (1, 1), "num_heads": (1, 1)}
SWIN |= {"window_size": 4, "sees": "visible"}
SIZES = [(64, 64), (70, 50), (33, 97)]


def hybrid(**options):
    torch.manual_seed(0)
    encoder = HybridTransformer(**{name: value for name, value in HYBRID.items() if name != "type"} | options).eval()
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder


def grids(size):
    """Rows and columns of four maps of strides 4 to 32, of an image that is filled up to whole patches."""
    grid = [-(-side // 16) for side in size]
    return [[4 * side for side in grid], [2 * side for side in grid], grid, [-(-side // 2) for side in grid]]


def stage_of_picture(stage, x, cells):
    """A stage as convolutions on a complete picture (B, C, H, W), as published."""
    side = x.shape[2] // (cells[0] * 1)
    weight = stage.proj.weight.unflatten(1, (x.shape[1], side, -1))
    x = nn.functional.conv2d(x, weight, stage.proj.bias, stride=(side, x.shape[3] // cells[1]))
    x = nn.functional.gelu(stage.norm(x.movedim(1, 3)))  # (B, rows, columns, C)
    for block in stage.blocks:
        near = block.attn(block.conv1(block.norm1(x)).movedim(3, 1)).movedim(1, 3)
        x = x + block.conv2(near)
        x = x + block.mlp(block.norm2(x))
    return x.movedim(3, 1)


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_stages_are_those_of_convolutions_on_the_picture(size):
    encoder, images = hybrid(), torch.randn(2, 3, *size)
    maps = encoder.stages(images)
    fine = stage_of_picture(encoder.stage1, images, [side // 4 for side in size])
    coarse = stage_of_picture(encoder.stage2, fine, [side // 8 for side in size])
    torch.testing.assert_close(maps[0], fine, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(maps[1], coarse, atol=1e-5, rtol=1e-5)
    tokens = encoder(images)  # not normalised, and without the other stages
    assert maps[2].flatten(2).transpose(1, 2).equal(tokens)
    assert [list(level.shape[1:]) for level in maps] == [
        [w, *g] for w, g in zip((8, 16, 32), grids(size)[:3], strict=True)
    ]


@pytest.mark.parametrize("size", SIZES)
def test_a_segmentor_on_stages(size):
    head = {"type": "UPerHead", "width": 8, "pool_scales": (1, 2)}
    model = Segmentor(HYBRID, 4, head, {"type": "StagePyramid"}, inference="whole")
    images = torch.randn(2, 3, *size)
    maps = model(images, mode="tensor")
    assert [list(x.shape) for x in maps] == [[2, w, *g] for w, g in zip((8, 16, 32, 32), grids(size), strict=True)]
    assert model(images, mode="predict").shape == (2, 4, *size)
    model(images, {"semantic": torch.randint(4, (2, *size))})["loss"].backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("size", SIZES)
def test_a_detector_on_stages(size):
    torch.manual_seed(0)
    model = ObjectDetector(HYBRID, 3, channels=8, hidden_dim=16, with_masks=False, pyramid={"type": "StageFPN"})
    images = torch.randn(2, 3, *size)
    sides = [-(-side // 64) * 64 for side in size]  # filled up, so that all maps fit onto each other
    maps = model(images, mode="tensor")
    assert [list(x.shape) for x in maps] == [[2, 8, *[side // s for side in sides]] for s in (4, 8, 16, 32, 64)]
    target = {"boxes": torch.tensor([[2.0, 3.0, 20.0, 25.0]]), "labels": torch.tensor([1])}
    model(images, {"targets": [target, target]})["loss"].backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_four_stages_need_no_fifth_map():
    maps = [torch.randn(1, width, side, side + 1) for width, side in ((4, 9), (6, 5), (8, 3), (10, 2))]
    pyramid = StagePyramid([4, 6, 8, 10])
    assert all(out is level for out, level in zip(pyramid(maps), maps, strict=True)) and pyramid.channels == [
        4,
        6,
        8,
        10,
    ]
    assert [x.shape[1:] for x in StageFPN([4, 6, 8, 10], 5)(maps)] == [(5, *level.shape[2:]) for level in maps]


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            lambda: build_pyramid(hybrid(), {"type": "LayerPyramid", "layers": [1, 2, 3, 4]}),
            "gives its last tokens only",
        ),
        (lambda: ObjectDetector(HYBRID, 3), "gives its last tokens only"),
        (lambda: ObjectDetector(HYBRID, 3, pyramid={"type": "StagePyramid"}), "maps of 8, 16, 32, 32 channels, but a"),
        (lambda: ObjectDetector(PLAIN, 3, pyramid={"type": "StageFPN"}), "three or four stages .* this one has none"),
        (
            lambda: Segmentor(SWIN, 3, {"type": "UPerHead"}, {"type": "LayerPyramid", "layers": [0, 1, 2, 2]}),
            "A pyramid takes one token of 16 numbers for each patch, but layer 0 of SwinTransformer has 4 of 8",
        ),
        (lambda: StagePyramid([4, 8]), "made of three or four stages of an encoder, but this one has 2"),
    ],
)
def test_what_makes_no_pyramid_is_refused(build, sentence):
    with pytest.raises(UsageError, match=sentence):
        build()


def test_maps_of_stages_of_an_encoder_without_any():
    assert len(feature_maps(hybrid(), torch.randn(1, 3, 30, 40), "stages")) == 3
    with pytest.raises(
        UsageError, match="VisionTransformer has no stages of different strides: use an encoder that has"
    ):
        Segmentor(PLAIN, 3, {"type": "UPerHead"}, StagePyramid([4, 8, 16]))
