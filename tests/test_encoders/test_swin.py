"""Swin on visible patches alone: nobody attends to the others, and layers keep the tokens of a patch together."""

from functools import partial

import pytest
import torch

from maetool.encoders import SwinTransformer
from maetool.errors import UsageError
from maetool.layers.swin import MaskedSwinBlock
from maetool.models import MaskedImageModel
from maetool.ops.patches import cell_ids
from maetool.structures import MaskPlan
from maetool.testing import tiny_model

SWIN = {"patch_size": (2, 4), "in_chans": 2, "embed_dim": 6, "depths": (1, 2), "num_heads": (1, 2), "window_size": 4}


close = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)


def swin(size=(32, 32), **options):
    torch.manual_seed(0)
    encoder = SwinTransformer(size, **{**SWIN, "sees": "visible", **options}).eval()
    for parameter in encoder.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder


def attention_of_pairs(block, x, ids, grid):
    """Attention of tokens x (N, D) at places `ids` (N,), each pair on its own."""
    attn, places = block.attn, torch.stack(torch.unravel_index(ids, grid), dim=1)
    shifted = [(places[:, axis] - block.shift_size[axis]) // block.window_size[axis] for axis in (0, 1)]
    window = torch.stack(shifted, dim=1)
    q, k, v = attn.qkv(x).unflatten(1, (3, attn.num_heads, -1)).permute(1, 2, 0, 3)
    offsets = places[:, None] - places[None] + torch.tensor(block.window_size) - 1
    together = (window[:, None] == window[None]).all(dim=2)
    rows = (offsets[..., 0] * (2 * block.window_size[1] - 1) + offsets[..., 1]).where(together, 0)
    scores = q @ k.mT * attn.scale + attn.relative_position_bias_table[rows].movedim(2, 0)
    weights = scores.masked_fill(~together, float("-inf")).softmax(dim=-1)
    return attn.proj((weights @ v).transpose(0, 1).flatten(1))


@pytest.mark.parametrize(
    ("grid", "window", "shift"), [((8, 12), 4, 2), ((8, 12), 4, 0), ((3, 12), 6, 3), ((6, 6), 3, 1)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_visible_tokens_attend_to_visible_ones_of_their_window(grid, window, shift, seed):
    torch.manual_seed(seed)
    block = MaskedSwinBlock(10, grid, num_heads=2, window_size=window, shift_size=shift).eval()
    for parameter in block.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    plan = MaskPlan.from_scores(torch.rand(2, grid[0] * grid[1]), 7, grid)
    x = torch.randn(2, 7, 10)
    out = block(x, plan.ids_keep, plan.mask)
    for number in range(2):
        attended = x[number] + attention_of_pairs(block, block.norm1(x[number]), plan.ids_keep[number], grid)
        close(out[number], attended + block.mlp(block.norm2(attended)))


@pytest.mark.parametrize("size", [(32, 32), (16, 64)])
def test_layers_are_those_of_timms_stages(size):
    encoder = swin(size)
    images = torch.randn(2, 2, *size)
    x = encoder.patch_embed(images)
    maps = [x, encoder.layers[1].downsample(encoder.layers[0](x)), encoder.layers[1](encoder.layers[0](x))]
    assert encoder.layer_dims == (6, 12, 12) and encoder.layer_cells == ((2, 2), (1, 1), (1, 1))
    everything = torch.arange(encoder.grid[0] * encoder.grid[1]).expand(2, -1)
    for tokens, level, cells in zip(encoder(images, layers=[0, 1, -1]), maps, encoder.layer_cells, strict=True):
        ids = cell_ids(everything, encoder.grid, cells)
        close(tokens, level.flatten(1, 2).gather(1, ids[..., None].expand(-1, -1, level.shape[3])))


def test_weights_of_simmim_are_read_and_tell_the_same_of_complete_images():
    theirs = SwinTransformer(32, **SWIN).eval()
    own = swin()
    assert own.load_state_dict(theirs.state_dict(), strict=False).unexpected_keys == ["mask_token"]
    images = torch.randn(2, 2, 32, 32)
    close(own(images), theirs(images))
    assert (theirs.grid, own.grid) == ((16, 8), (8, 4))


def test_a_decoder_of_mae_reads_the_visible_tokens():
    """As in GreenMIM: masks of single patches, which no unit has to align."""
    model = tiny_model(
        encoder={"type": "SwinTransformer", "img_size": (32, 64), **SWIN, "in_chans": 3, "sees": "visible"}
    )
    assert isinstance(model, MaskedImageModel)
    model(torch.randn(2, 3, 32, 64))["loss"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"window_size": 5},
            r"Windows of 5x5 tokens do not divide the 16x8 tokens of stage 1, as sees=\"visible\" needs",
        ),
        ({"sees": "blank"}, r"sees is 'blank', but must be 'all' or 'visible'"),
    ],
)
def test_bad_input(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        swin(**options)


def test_with_mask_tokens_there_are_no_layers():
    with pytest.raises(UsageError, match="this encoder gives its last tokens only"):
        swin(sees="all")(torch.randn(1, 2, 32, 32), layers=[1])
