"""LocalMIM's small decoders: the same as convolutions on whole pictures, and its loss."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from maetool.decoders import ScaledDecoder
from maetool.errors import UsageError
from maetool.heads import RegressionHead
from maetool.ops.patches import patchify, unpatchify
from maetool.structures import MaskPlan, plan_of_cells
from maetool.targets import HOGTarget
from maetool.testing import check_decoder, tiny_model

GRID = (4, 6)


def decoder_of(scale, out_dim):
    torch.manual_seed(0)
    decoder = ScaledDecoder(8, out_dim, GRID, 2, layer=1, scale=scale, embed_dim=16, num_heads=2)
    for parameter in decoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return decoder


def transposed_convolution(x, layer):
    weight = layer.split.weight.unflatten(0, (2, 2, -1)).permute(3, 2, 0, 1)  # (in, out, 2, 2)
    return functional.conv_transpose2d(x, weight, layer.split.bias.view(4, -1)[0], stride=2)


def as_published(decoder, latent, plan):
    """Every place of the picture is computed, as (B, numbers, rows, columns)."""
    everywhere = torch.arange(24).expand(len(latent), -1)
    x = decoder.decode(decoder.encoder_norm(latent), plan, everywhere)
    x = x.transpose(1, 2).unflatten(2, GRID)
    if decoder.scale == 0.5:
        x = functional.avg_pool2d(x, 2)
    for part in decoder.pred if decoder.scale > 1 else [decoder.pred]:
        if hasattr(part, "split"):
            x = transposed_convolution(x, part)
        else:
            x = part(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return x


@pytest.mark.parametrize("scale", [0.5, 1, 2, 4])
def test_predicted_patches_are_those_of_the_whole_picture(scale):
    cells = max(1, scale)
    decoder = decoder_of(scale, 3 * cells**2)
    for part in decoder.pred.modules():
        if hasattr(part, "split"):  # a transposed convolution has one bias for all of its places
            part.split.bias.data = part.split.bias.data.view(4, -1)[:1].expand(4, -1).flatten()
    plan, latent = MaskPlan.from_scores(torch.rand(2, 24), 6, GRID), torch.randn(2, 7, 8)
    picture = as_published(decoder, latent, plan)
    if scale == 0.5:
        picture = picture.repeat_interleave(2, 2).repeat_interleave(2, 3)
    numbers = patchify(picture, (cells, cells)).unflatten(2, (-1, 3)).transpose(2, 3).flatten(2)
    torch.testing.assert_close(decoder([latent], plan), plan.take_predicted(numbers), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 2, 4])
def test_contract(scale):
    decoder = ScaledDecoder(24, 160, (2, 6), 2, scale=scale, embed_dim=16, num_heads=2)
    check_decoder(decoder, 24, 160, (2, 6))


LAYERS = {"layer_dims": (5, 8, 16, 16), "layer_cells": ((4, 4), (2, 2), (1, 1), (1, 1)), "num_layers": 3}


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_a_layer_of_several_tokens_for_a_patch_is_decoded_on_their_grid(scale):
    cells = round(2 * scale)
    decoder = ScaledDecoder(16, 3 * cells**2, GRID, layer=1, scale=scale, embed_dim=16, num_heads=2, **LAYERS)
    fine = ScaledDecoder(
        8, 3 * int(max(1, scale)) ** 2, (8, 12), 2, layer=1, scale=scale, num_prefix_tokens=0, embed_dim=16, num_heads=2
    )
    fine.load_state_dict({**decoder.state_dict(), "pos_embed": fine.pos_embed})
    decoder.num_prefix_tokens, decoder.pos_embed = 0, fine.pos_embed
    plan = MaskPlan.from_scores(torch.rand(2, 24), 6, GRID)
    latent, finer = torch.randn(2, 6 * 4, 8), plan_of_cells(plan, (2, 2))
    step = int(max(1, scale))
    numbers = finer.scatter(fine([latent], finer), torch.zeros(2, 96, 3 * step**2))
    picture = unpatchify(numbers.unflatten(2, (3, -1)).transpose(2, 3).flatten(2), (8, 12), (step, step))
    picture = functional.avg_pool2d(picture, 2) if scale < 1 else picture  # 2 x 2 tokens share one
    expected = patchify(picture, (cells, cells)).unflatten(2, (-1, 3)).transpose(2, 3).flatten(2)
    torch.testing.assert_close(decoder([latent], plan), plan.take_predicted(expected), atol=1e-5, rtol=1e-5)


def test_small_form_of_a_layer_of_a_hierarchical_encoder():
    arguments = {"num_heads": 4, "layer": 4, "encoder": {"depths": [1, 1, 1]}}
    assert ScaledDecoder.debug_arguments(arguments)["layer"] == 3
    assert ScaledDecoder.debug_arguments({**arguments, "encoder": {"depth": 2}})["layer"] == 2


def test_loss_of_shared_cells_weighs_them_by_their_hidden_patches():
    """LocalMIM weighs a cell of 2 x 2 patches by the share of them that is hidden."""
    plan = MaskPlan.from_scores(torch.rand(3, 24), 7, GRID)
    pred, target = torch.randn(2, 3, 5, 2, 3)  # a picture of cells each, (B, numbers, rows, columns)
    weight = functional.avg_pool2d(plan.mask_at(GRID).float()[:, None], 2)[:, 0]
    published = ((pred - target).square().mean(dim=1) * weight).sum() / weight.sum()
    ours = [
        plan.take_predicted(x.repeat_interleave(2, 2).repeat_interleave(2, 3).flatten(2).transpose(1, 2))
        for x in (pred, target)
    ]
    torch.testing.assert_close(RegressionHead()(*ours, plan)["loss"], published)


def test_cells_of_several_patches_are_those_of_large_patches():
    images = torch.rand(2, 3, 32, 48)
    plan = MaskPlan.from_scores(torch.rand(2, 24), 6, GRID)
    shared, large = HOGTarget(8, cell_size=16), HOGTarget(16, cell_size=16)
    everything = torch.arange(6).expand(2, -1)
    whole = large(images, MaskPlan((2, 3), everything, everything, everything, torch.zeros(2, 6, dtype=torch.bool)))
    picture = whole.transpose(1, 2).unflatten(2, (2, 3)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(shared(images, plan), plan.take_predicted(picture.flatten(2).transpose(1, 2)))


def test_several_small_decoders_in_one_model():
    small = {"type": "ScaledDecoder", "embed_dim": 16, "num_heads": 2}
    task = {"target": {"type": "HOGTarget"}, "head": {"type": "RegressionHead"}}
    model = tiny_model(
        decoder={**small, "scale": 0.5, "layer": 2},
        target={"type": "HOGTarget", "cell_size": (16, 8)},
        tasks={"first": {"decoder": {**small, "layer": 1, "scale": 2}, **task}},
    )
    passes = []
    model.encoder.blocks[0].register_forward_hook(lambda *_: passes.append(1))
    losses = model(torch.randn(2, 3, 16, 32))
    losses["loss"].backward()
    assert passes == [1]
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert not any(name.startswith("decoder.layer_norm") for name in model.state_dict())
    assert isinstance(model.tasks["first"].decoder.layer_norm, nn.LayerNorm)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"scale": 3}, r"scale is 3, but must be 0.5, 1, 2 or 4"),
        ({"scale": 0.5, "grid": (3, 4)}, r"grid of 3x4 is odd"),
        ({"scale": 2, "out_dim": 27}, r"makes 4 cells of a patch, but the target has 27 numbers"),
        ({"layer": 5}, r"layers is \[5\], but an encoder of 2 blocks has the layers 0 .* to 2"),
    ],
)
def test_bad_input(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        ScaledDecoder(**{"encoder_dim": 8, "out_dim": 36, "grid": (4, 4), "num_layers": 2, **arguments})


def test_an_odd_grid_of_another_size_is_refused():
    decoder = ScaledDecoder(8, 3, (2, 6), 2, scale=0.5, embed_dim=16, num_heads=2)
    plan = MaskPlan.from_scores(torch.rand(2, 15), 6, (3, 5))
    with pytest.raises(UsageError, match="joins 2x2 patches, but a grid of 3x5 is odd: use another scale, or images"):
        decoder([torch.randn(2, 7, 8)], plan)
