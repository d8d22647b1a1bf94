"""The published formulas once more, in NumPy, at rectangles, widths, ratios and draws that no reference file has."""

from math import ceil, prod

import numpy as np
import pytest
import torch
from golden import close
from scipy.stats import truncnorm
from torch import nn
from torch.nn.functional import gelu

from maetool.decoders import CrossViewDecoder
from maetool.encoders import StreamTransformer, VisionTransformer
from maetool.maskers import (
    AdaptiveMasker,
    AttentionMasker,
    ChangeMasker,
    HardPatchMasker,
    StreamMasker,
    TubeMasker,
    VariableMasker,
)
from maetool.ops.random import KeyedRandom, sample_keys
from maetool.structures import Layout, MaskPlan
from maetool.targets import PictureTarget

SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])
CLIPS = pytest.mark.parametrize("grid", [(2, 3, 4), (3, 1, 7), (5, 2, 3)])


def keys(number, epoch=0):
    return sample_keys(7, epoch, torch.arange(number))


def rng_of(number, seed=0):
    return KeyedRandom(keys(number, seed))


# VideoMAE


@pytest.mark.parametrize("ratio", [0.5, 0.6, 0.75, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("sides", [(3, 4), (1, 7), (5, 8), (9, 6), (14, 14)])
def test_tubes_hide_the_share_of_a_slice_rounded_down(sides, ratio):
    places = prod(sides)
    plan = TubeMasker(ratio)(torch.zeros(4, 3, 1, 1), (3, *sides), keys=keys(4))
    slices = plan.mask.view(4, 3, places)
    hidden = int(round(places * ratio, 6))  # products of decimals are not exact
    assert slices.sum(dim=2).eq(hidden).all() and slices.equal(slices[:, :1].expand_as(slices))


@CLIPS
@pytest.mark.parametrize("width", [16, 20, 66])
def test_flat_positions(grid, width):
    size = tuple(4 * side for side in grid)
    encoder = VisionTransformer(size, (4, 4, 4), 1, width, 1, 1, pos_embed="flat", class_token=False)
    place, channel = np.arange(prod(grid))[:, None], np.arange(width)[None]
    angle = place / 10000 ** (2 * (channel // 2) / width)
    table = np.where(channel % 2 == 0, np.sin(angle), np.cos(angle))
    close(encoder.pos_embed[0], torch.from_numpy(table), 1e-6)


@SEEDS
def test_channels_of_cubes_are_normalised_each(seed):
    mean, std, patch = (10.0, 20.0), (3.0, 5.0), (2, 3, 4)
    clip = torch.randn(2, 2, 4, 6, 8, generator=torch.Generator().manual_seed(seed))
    plan = MaskPlan.from_scores(torch.rand(2, 8), 3, (2, 2, 2))
    target = PictureTarget(patch, 2, norm_pix_loss="channel", mean=mean, std=std)(clip, plan)
    pixels = clip.double().numpy() * np.reshape(std, (2, 1, 1, 1)) / 255 + np.reshape(mean, (2, 1, 1, 1)) / 255
    for sample, ids in enumerate(plan.ids_predict.tolist()):
        for row, place in enumerate(ids):
            t, y, x = np.unravel_index(place, (2, 2, 2))
            cube = pixels[sample, :, 2 * t : 2 * t + 2, 3 * y : 3 * y + 3, 4 * x : 4 * x + 4].reshape(2, -1).T
            expected = (cube - cube.mean(0)) / (cube.std(0, ddof=1) + 1e-6)
            close(target[sample, row], torch.from_numpy(expected.reshape(-1)), 1e-4)


# EVEREST


@SEEDS
@CLIPS
@pytest.mark.parametrize(("ratio", "redundancy"), [(0.75, 0.5), (0.9, 0.3), (0.6, 0.0)])
def test_what_changed_most_is_seen_or_predicted(grid, ratio, redundancy, seed):
    length = prod(grid)
    tokens = torch.randn(3, length, 6, generator=torch.Generator().manual_seed(seed))
    masker = ChangeMasker(ratio, redundancy)
    plan = masker(torch.zeros(3, 1, 1, 1, 1), grid, keys=keys(3, seed), clues={"tokens": tokens})
    slices = tokens.double().numpy().reshape(3, grid[0], -1, 6)
    change = np.linalg.norm(slices[:, 1:] - slices[:, :-1], axis=-1)
    change = np.concatenate([change[:, :1], change], axis=1).reshape(3, -1)
    chosen = int(round(length * (1 - redundancy), 6))
    seen = int(round(length * (1 - ratio), 6))
    for sample in range(3):
        expected = set(np.argsort(-change[sample], kind="stable")[:chosen].tolist())
        visible, predicted = (set(ids[sample].tolist()) for ids in (plan.ids_keep, plan.ids_predict))
        assert visible | predicted == expected and not visible & predicted and len(visible) == seen


# AdaMAE


@SEEDS
@pytest.mark.parametrize(("grid", "width", "heads"), [((3, 2, 4), 24, 3), ((2, 5), 16, 8), ((11,), 12, 1)])
def test_probabilities_and_the_loss_of_a_draw(grid, width, heads, seed):
    torch.manual_seed(seed)
    masker = AdaptiveMasker(width, grid, 0.6, num_heads=heads).double()
    for parameter in masker.parameters():
        nn.init.normal_(parameter, std=0.3)
    tokens = torch.randn(2, prod(grid), width, dtype=torch.float64)
    plan = masker(torch.zeros(2, 1, 1, 1), grid, keys=keys(2, seed), clues={"tokens": tokens})
    state = {name: value.numpy() for name, value in masker.state_dict().items()}
    x = tokens.numpy() + state["pos_embed"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return scaled * state[f"block.{name}.weight"] + state[f"block.{name}.bias"]

    q, k, v = np.split(norm(x, "norm1") @ state["block.attn.qkv.weight"].T, 3, axis=-1)
    q, k, v = (part.reshape(2, -1, heads, width // heads).transpose(0, 2, 1, 3) for part in (q, k, v))
    scores = np.exp(q @ k.transpose(0, 1, 3, 2) / np.sqrt(width // heads))
    mixed = (scores / scores.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(2, -1, width)
    x = x + mixed @ state["block.attn.proj.weight"].T + state["block.attn.proj.bias"]
    hidden = norm(x, "norm2") @ state["block.mlp.fc1.weight"].T + state["block.mlp.fc1.bias"]
    x = x + gelu(torch.from_numpy(hidden)).numpy() @ state["block.mlp.fc2.weight"].T + state["block.mlp.fc2.bias"]
    logits = (x @ state["logits.weight"].T + state["logits.bias"])[..., 0]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    close(plan.aux["log_probs"].exp(), torch.from_numpy(p))
    errors = torch.rand(plan.ids_predict.shape)
    expected = -np.mean(np.log(np.take_along_axis(p, plan.ids_predict.numpy(), 1)) * errors.numpy())
    assert masker.loss(plan, errors).item() == pytest.approx(expected, rel=1e-5)


def test_visible_patches_are_drawn_without_replacement_from_the_probabilities():
    """Of two drawn ones: the first by p, the second by p among the others."""
    p = np.array([0.5, 0.2, 0.2, 0.1])
    masker = AdaptiveMasker(8, (4,), 0.5)
    masker.block, masker.logits = nn.Identity(), nn.Identity()
    tokens = torch.from_numpy(np.log(p)).float().view(1, 4, 1).expand(20_000, -1, -1)
    masker.pos_embed = nn.Parameter(torch.zeros(1, 4, 1))
    plan = masker(torch.zeros(20_000, 1, 1), (4,), keys=keys(20_000), clues={"tokens": tokens})
    both = {(i, j): p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for i in range(4) for j in range(i)}
    found = plan.ids_keep.sort(dim=1, descending=True).values
    for (i, j), expected in both.items():
        share = (found == torch.tensor([i, j])).all(dim=1).float().mean().item()
        assert share == pytest.approx(expected, abs=0.012)


# SatMAE


@pytest.mark.parametrize(("width", "code"), [(48, 8), (40, 16), (72, 24)])
@pytest.mark.parametrize("sides", [(2, 2), (3, 3)])
def test_positions_of_groups(width, code, sides):
    stem = {"type": "GroupStem", "groups": [(0, 2), (1,), (3, 4, 5)], "img_size": tuple(4 * s for s in sides)}
    stem["patch_size"] = 4
    encoder = StreamTransformer({"b": stem}, width, 1, 2, stream_code="concat", code_dim=code)

    def sincos(position, dim):
        angle = np.outer(position, 1 / 10000 ** (np.arange(dim // 2) / (dim / 2)))
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)

    rest = width - code
    rows, columns = (axis.reshape(-1) for axis in np.mgrid[: sides[0], : sides[1]])
    places = np.concatenate([sincos(columns, rest // 2), sincos(rows, rest // 2)], axis=1)
    codes = sincos(np.arange(3), code)
    table = np.concatenate([np.hstack([places, np.tile(codes[g], (len(places), 1))]) for g in range(3)])
    close(encoder.positions(encoder.grids)[0], torch.from_numpy(table), 1e-6)


@SEEDS
@pytest.mark.parametrize("across", ["together", "same"])
def test_groups_are_hidden_together_or_at_the_same_places(across, seed):
    layout = Layout.of({"a": (3, 5), "b": (3, 5), "c": (3, 5)})
    plan = StreamMasker(0.7, across=across)(torch.zeros(6, 1, 1, 1), layout, keys=keys(6, seed))
    masks = plan.mask.view(6, 3, 15)
    kept = int(round(15 * 0.3, 6)) * 3 if across == "same" else int(round(45 * 0.3, 6))
    assert masks.logical_not().sum(dim=(1, 2)).eq(kept).all()
    assert masks.equal(masks[:, :1].expand_as(masks)) == (across == "same")


# CropMAE


@SEEDS
@pytest.mark.parametrize(("sides", "width", "heads"), [((3, 5), 24, 4), ((1, 6), 16, 2), ((4, 2), 36, 3)])
def test_blocks_that_ask_another_view(sides, width, heads, seed):
    """Those of PyTorch's decoder layer with post-norm, in another order: memory, hidden layer, self-attention."""
    torch.manual_seed(seed)
    decoder = CrossViewDecoder(20, 7, sides, 1, width, 1, heads, post_norm=True, hidden_dim=40).eval()
    for parameter in decoder.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    plan = MaskPlan.from_scores(torch.rand(2, prod(sides)), 2, sides)
    latent, memory = torch.randn(2, 3, 20), torch.randn(2, 1 + prod(sides), 20)
    layer = nn.TransformerDecoderLayer(width, heads, 40, 0.0, "gelu", batch_first=True).eval()
    ask, mlp, own = decoder.blocks[0].steps
    with torch.no_grad():
        for part, branch in ((layer.self_attn, own.branch), (layer.multihead_attn, ask.branch)):
            names = ("qkv",) if branch is own.branch else ("q", "kv")
            part.in_proj_weight.copy_(torch.cat([getattr(branch, name).weight for name in names]))
            part.in_proj_bias.copy_(torch.cat([getattr(branch, name).bias for name in names]))
            part.out_proj.load_state_dict(branch.proj.state_dict())
    for part, other in ((layer.linear1, mlp.branch.fc1), (layer.linear2, mlp.branch.fc2)):
        part.load_state_dict(other.state_dict())
    seen = torch.cat([decoder.embed(latent[:, :1]), plan.restore(decoder.embed(latent[:, 1:]), decoder.mask_token)], 1)
    x, other = seen + decoder.pos_embed, decoder.embed(memory)
    x = ask.norm(x + layer.multihead_attn(x, other, other)[0])
    x = mlp.norm(x + layer.linear2(gelu(layer.linear1(x))))
    x = own.norm(x + layer.self_attn(x, x, x)[0])
    expected = decoder.pred(decoder.norm(x))[:, 1:]
    close(decoder(latent, plan, memory), plan.take_predicted(expected))


# MAGE


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.0), (0.3, 0.8)])
@pytest.mark.parametrize(("mean", "deviation"), [(0.55, 0.25), (0.75, 0.1), (0.2, 0.5)])
def test_ratios_are_those_of_a_normal_distribution_that_is_cut(low, high, mean, deviation):
    masker = VariableMasker((low, high), mean, deviation, drop_ratio=low, round_up=True)
    share = rng_of(500).uniform(1)[:, 0].double().numpy()
    expected = truncnorm((low - mean) / deviation, (high - mean) / deviation, mean, deviation).ppf(share)
    close(masker.draw_ratio(rng_of(500)), torch.from_numpy(expected), 1e-6)


@pytest.mark.parametrize("sides", [(4, 4), (3, 5), (7, 9), (16, 16)])
def test_what_is_dropped_and_removed_is_rounded_up(sides):
    masker, length = VariableMasker((0.5, 1.0), 0.55, 0.25, 0.5, "batch", round_up=True), prod(sides)
    for epoch in range(8):
        ratio = masker.draw_ratio(rng_of(3, epoch))[0].item()
        plan = masker(torch.zeros(3, 1, 1, 1), sides, keys=keys(3, epoch))
        dropped, removed = ceil(length * 0.5), ceil(length * ratio)
        assert plan.mask.sum(dim=1).eq(removed).all() and plan.blank.sum(dim=1).eq(removed - dropped).all()
        assert plan.ids_keep.shape[1] == length - dropped


# AttMask


@SEEDS
@pytest.mark.parametrize("sides", [(3, 5), (2, 11), (7, 7)])
@pytest.mark.parametrize("choose", ["high", "low", "hint"])
def test_what_a_teacher_attends_to(sides, choose, seed):
    length, ratio, hint = prod(sides), 0.45, 0.2
    attention = torch.rand(4, 3, length + 2, length + 2, generator=torch.Generator().manual_seed(seed)).softmax(-1)
    masker = AttentionMasker((ratio, ratio), 0.0, choose=choose, hint=hint)
    plan = masker(torch.zeros(4, 1, 1, 1), sides, keys=keys(4, seed), clues={"attention": attention})
    order = np.argsort(attention.numpy()[:, :, 0, -length:].mean(axis=1), axis=1)  # the most attended are last
    removed = int(length * ratio)
    for sample in range(4):
        found = set(torch.nonzero(plan.mask[sample])[:, 0].tolist())
        if choose != "hint":
            own = order[sample] if choose == "low" else order[sample][::-1]
            assert found == set(own[:removed].tolist())
            continue
        highest, shown = int(length * hint), int(length * ratio * hint)
        top = order[sample][::-1][:removed].tolist()
        assert found <= set(top) and set(top) - found <= set(top[:highest]) and len(set(top) - found) == shown


@SEEDS
@pytest.mark.parametrize(("sides", "ratio"), [((3, 5), 0.7), ((2, 11), 0.4), ((7, 7), 0.85)])
def test_draws_by_attention_are_of_the_number_that_is_left(sides, ratio, seed):
    length = prod(sides)
    attention = torch.rand(64, 3, length + 1, length + 1, generator=torch.Generator().manual_seed(seed)) * 0.1
    attention[:, :, 0, 1::2] += 10.0  # the patches 0, 2, 4, ... are nearly always drawn first
    masker = AttentionMasker((ratio, ratio), 0.0, choose="draw", round_up=True)
    clues = {"attention": attention}
    plan = masker(torch.zeros(64, 1, 1, 1), sides, keys=keys(64, seed), clues=clues)
    kept = int(length * (1 - ratio) + 1e-9)
    assert plan.num_keep == kept and plan.mask.sum(dim=1).eq(length - kept).all()
    first = plan.ids_keep[:, : min(kept, (length + 1) // 2)]
    assert (first % 2 == 0).float().mean() > 0.9
    alone = masker(torch.zeros(1, 1, 1, 1), sides, keys=keys(64, seed)[5:6], clues={"attention": attention[5:6]})
    assert alone.ids_keep[0].equal(plan.ids_keep[5])
    other = masker(torch.zeros(64, 1, 1, 1), sides, keys=keys(64, seed + 9), clues=clues)
    assert not other.ids_keep.equal(plan.ids_keep)


# HPM


@SEEDS
@pytest.mark.parametrize(("sides", "ratio"), [((3, 5), 0.6), ((2, 11), 0.4), ((7, 7), 0.85)])
def test_the_hardest_are_hidden_and_predicted_first(sides, ratio, seed):
    length = prod(sides)
    losses = torch.randn(8, length, generator=torch.Generator().manual_seed(seed))
    order = losses.argsort(dim=1, descending=True)
    removed = length - int(length * (1 - ratio) + 1e-9)
    for first, last, progress in ((0.0, 0.5, 0.5), (0.2, 0.9, 1.0), (0.6, 0.1, 0.75)):
        masker = HardPatchMasker(ratio, 0.75 * ratio, (first, last))
        masker.progress = progress
        plan = masker(torch.zeros(8, 1, 1, 1), sides, keys=keys(8, seed), clues={"losses": losses})
        hard = int(removed * (first + (last - first) * progress) + 1e-6)
        assert plan.mask.sum(dim=1).eq(removed).all() and plan.mask.gather(1, order[:, :hard]).all()
        asked = torch.zeros_like(plan.mask).scatter(1, plan.ids_predict, True)
        assert asked.gather(1, order[:, : min(hard, plan.ids_predict.shape[1])]).all()
        again = masker(torch.zeros(8, 1, 1, 1), sides, keys=keys(8, seed + 9), clues={"losses": losses}).mask
        assert hard == removed or not again.equal(plan.mask)
        at_the_end = masker.eval()(torch.zeros(8, 1, 1, 1), sides, keys=keys(8), clues={"losses": losses}).mask
        assert at_the_end.gather(1, order[:, : int(removed * last + 1e-6)]).all()
