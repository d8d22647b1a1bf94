"""The encoder of ConvMAE against the same written as convolutions on whole pictures."""

import pytest
import torch
from torch.nn import functional

from maetool.encoders import HybridTransformer
from maetool.errors import UsageError
from maetool.structures import MaskPlan


def small():
    torch.manual_seed(0)
    encoder = HybridTransformer((32, 48), 8, 3, embed_dim=24, depth=2, num_heads=2, conv_dims=(8, 16))
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder


def conv(layer, x, kernel):
    """A linear map of patches as the convolution that it is."""
    weight = layer.weight.view(len(layer.weight), -1, *kernel)
    return functional.conv2d(x, weight, layer.bias, stride=kernel)


def channels_last(function, x):
    return function(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def stage(part, x, kernel, mask):
    x = functional.gelu(channels_last(part.norm, conv(part.proj, x, kernel)))
    for block in part.blocks:
        near = channels_last(lambda t, b=block: b.conv1(b.norm1(t)), x) * mask
        x = x + channels_last(block.conv2, block.attn(near))
        x = x + channels_last(lambda t, b=block: b.mlp(b.norm2(t)), x)
    return x


def as_published(encoder, images, plan):
    """Every place is computed, and the mask keeps removed ones out of the depthwise convolutions."""
    fine, coarse = (~plan.mask_at(size)[:, None] for size in ((16, 24), (8, 12)))
    first = stage(encoder.stage1, images, (2, 2), fine.float())
    second = stage(encoder.stage2, first, (2, 2), coarse.float())
    x = functional.gelu(channels_last(encoder.stage3.norm, conv(encoder.stage3.proj, second, (2, 2))))
    x = encoder.proj(x.flatten(2).transpose(1, 2)) + encoder.pos_embed
    fused = conv(encoder.fuse1, first, (4, 4)) + conv(encoder.fuse2, second, (2, 2))
    x = plan.keep(x)
    for block in encoder.blocks:
        x = block(x)
    return encoder.norm(x + plan.keep(fused.flatten(2).transpose(1, 2)))


def test_only_visible_patches_give_the_same_as_all_with_a_mask():
    encoder, images = small(), torch.randn(2, 3, 32, 48)
    plan = MaskPlan.from_scores(torch.rand(2, 24), 6, (4, 6))
    torch.testing.assert_close(encoder(images, plan), as_published(encoder, images, plan), atol=1e-5, rtol=1e-5)


def test_parameters_of_the_base_model():
    """88 million, as published."""
    with torch.device("meta"):
        encoder = HybridTransformer()
    assert sum(p.numel() for p in encoder.parameters()) // 10**6 == 88


def test_other_sizes():
    assert small()(torch.randn(1, 3, 16, 40)).shape == (1, 10, 24)


def test_a_patch_that_cannot_be_halved_twice():
    with pytest.raises(
        UsageError, match=r"patch_size is \(14, 14\), but HybridTransformer halves it twice: use multiples"
    ):
        HybridTransformer(patch_size=14)
