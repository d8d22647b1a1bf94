"""Attention with a key mask, rotary positions, biases and norms, and what a block can be asked."""

import pytest
import torch

from maetool.errors import UsageError
from maetool.layers import Attention, Block, CrossAttention, run_blocks, run_blocks_at, transformer_blocks
from maetool.ops.rotary import grid_coords, rotary

B, N, D, HEADS = 3, 7, 24, 3


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def shaken(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def tokens(number=N):
    return torch.randn(B, number, D)


def test_padding_changes_nothing_and_a_sample_alone_gives_the_same():
    blocks, x = shaken(transformer_blocks(D, 2, HEADS)), tokens()
    keep = torch.arange(N) < torch.tensor([[4], [7], [1]])
    out = run_blocks(list(blocks), x, torch.nn.Identity(), keep=keep)
    other = torch.where(keep[..., None], x, torch.full_like(x, 1e3))
    changed = run_blocks(list(blocks), other, torch.nn.Identity(), keep=keep)
    for sample, length in enumerate((4, 7, 1)):
        alone = run_blocks(list(blocks), x[sample : sample + 1, :length], torch.nn.Identity())
        torch.testing.assert_close(out[sample : sample + 1, :length], alone, atol=1e-5, rtol=1e-5)
        assert torch.equal(changed[sample, :length], out[sample, :length])


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("with_rope", [False, True])
def test_a_subset_of_the_tokens_is_what_all_would_be(rank, with_rope):
    blocks, x, ids = shaken(transformer_blocks(D, 2, HEADS)), tokens(), torch.tensor([[6, 0], [1, 2], [5, 5]])
    keep = torch.rand(B, N) < 0.7 if rank == 2 else torch.rand(B, N, N) < 0.5
    keep |= torch.eye(N, dtype=torch.bool) if rank == 3 else torch.arange(N) == 3
    rope = rotary(torch.rand(B, N, 2) * 9, D // HEADS) if with_rope else None
    every = run_blocks(list(blocks), x, torch.nn.Identity(), keep=keep, rope=rope)
    some = run_blocks_at(blocks, x, ids, keep=keep, rope=rope)
    torch.testing.assert_close(some, every.gather(1, ids[..., None].expand(-1, -1, D)), atol=1e-5, rtol=1e-5)
    assert (run_blocks_at(blocks, x, ids) - some).abs().max() > 1e-3


def test_a_general_mask_says_who_sees_whom():
    attention, x = shaken(Attention(D, HEADS)), tokens()
    keep = torch.zeros(B, N, N, dtype=torch.bool)
    keep[:, :3, :3] = keep[:, 3:, 3:] = True
    apart = torch.cat([attention(x[:, :3]), attention(x[:, 3:])], dim=1)
    torch.testing.assert_close(attention(x, keep=keep), apart, atol=1e-5, rtol=1e-5)


def test_biases_of_queries_and_values_only():
    attention, plain, x = shaken(Attention(D, HEADS, qkv_bias="qv")), Attention(D, HEADS), tokens()
    bias = torch.cat([attention.q_bias, torch.zeros(D), attention.v_bias])
    weights = {n: v for n, v in attention.state_dict().items() if n not in ("q_bias", "v_bias")}
    plain.load_state_dict({**weights, "qkv.bias": bias})
    torch.testing.assert_close(attention(x), plain(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention(x, x[:, 2:4]), plain(x)[:, 2:4], atol=1e-5, rtol=1e-5)
    assert not {"q_bias", "v_bias", "qkv.bias"} & set(Attention(D, HEADS, qkv_bias=False).state_dict())
    assert set(Attention(D, HEADS).state_dict()) == {"qkv.weight", "qkv.bias", "proj.weight", "proj.bias"}
    with pytest.raises(UsageError, match="qkv_bias is 'all', but must be True, False or 'qv'"):
        transformer_blocks(D, 1, HEADS, qkv_bias="all")


def test_normalised_queries_and_keys_do_not_know_their_lengths():
    block = shaken(Block(D, HEADS, qkv_bias=False, qk_norm=True, norm_layer="rms"))
    assert isinstance(block.norm1, torch.nn.RMSNorm) and block.attn.q_norm.normalized_shape == (D // HEADS,)
    x, weight = tokens(), block.attn.qkv.weight
    before = block.attn(x)
    with torch.no_grad():
        weight[: 2 * D] *= 5
    torch.testing.assert_close(block.attn(x), before, atol=1e-4, rtol=1e-4)
    with pytest.raises(UsageError, match="norm_layer is 'batch', but must be 'layer' or 'rms'"):
        Block(D, HEADS, norm_layer="batch")


def test_probabilities_are_those_that_the_values_are_averaged_with():
    block, x = shaken(Block(D, HEADS, qkv_bias="qv", qk_norm=True)), tokens()
    keep, rope = torch.arange(N).expand(B, -1) != 2, rotary(torch.rand(B, N, 1), D // HEADS)
    p = block.probabilities(x, keep, rope)
    assert p.shape == (B, HEADS, N, N) and (p[..., 2] == 0).all()
    torch.testing.assert_close(p.sum(dim=-1), torch.ones(B, HEADS, N))
    attention = block.attn
    v = attention.qkv(block.norm1(x))[..., 2 * D :] + attention.v_bias
    out = attention.proj((p @ v.unflatten(2, (HEADS, -1)).transpose(1, 2)).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(block.norm1(x), keep=keep, rope=rope), out, atol=1e-5, rtol=1e-5)


def test_queries_over_a_memory_with_padding_and_positions():
    cross, x, memory = shaken(CrossAttention(D, 16, HEADS)), tokens(4), torch.randn(B, 5, 16)
    keep = torch.tensor([[1, 1, 1, 0, 0]] * B).bool()
    torch.testing.assert_close(cross(x, memory, keep), cross(x, memory[:, :3]), atol=1e-5, rtol=1e-5)
    rope, memory_rope = (rotary(torch.rand(1, n, 2) * 5, D // HEADS) for n in (4, 5))
    assert (cross(x, memory, rope=rope, memory_rope=memory_rope) - cross(x, memory)).abs().max() > 1e-3


@pytest.mark.parametrize(("rank", "heads"), [(1, 3), (2, 3), (3, 3), (2, 4)])
def test_only_differences_of_rotary_positions_count(rank, heads):
    """Heads of 8 and 6 channels, which do not divide by the axes: those left over are not turned."""
    attention, x, coords = shaken(Attention(D, heads)), tokens(), 9 * torch.rand(B, N, rank)
    here, there = (attention(x, rope=rotary(at, D // heads)) for at in (coords, coords + 2.5))
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)
    assert (here - attention(x, rope=rotary(2 * coords, D // heads))).abs().max() > 1e-3
    prefixed = rotary(coords[:, 2:], D // heads).with_prefix(2)
    torch.testing.assert_close(
        prefixed.turn(torch.ones(B, 1, N, D // heads))[:, :, :2], torch.ones(B, 1, 2, D // heads)
    )


def test_channels_of_other_axes_are_paired_where_it_is_asked_for():
    """A row turns the first half of the channels, which are paired with the second half, turned by the column."""
    rope = rotary(torch.tensor([[[0.5, 2.0]]]), 4, pairing="across", frequencies=torch.tensor([1.0]))
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    row, column = torch.tensor(0.5), torch.tensor(2.0)
    angle, partner = torch.stack([row, row, column, column]), torch.tensor([-3.0, -4.0, 1.0, 2.0])
    torch.testing.assert_close(rope.turn(x.view(1, 1, 1, 4)).flatten(), x * angle.cos() + partner * angle.sin())


def test_places_of_another_grid_are_those_in_the_same_image():
    assert grid_coords((2, 3), (2, 3)).tolist() == [[[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]]
    assert grid_coords((4,), (2,))[0, :, 0].tolist() == [-0.25, 0.25, 0.75, 1.25]


def test_heads_too_narrow_for_rotary_positions():
    with pytest.raises(UsageError, match="on 3 axes need heads of at least 6 channels, but they have 4"):
        rotary(torch.zeros(1, 2, 3), 4)
