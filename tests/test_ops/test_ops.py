"""Geometry, patches, positions and random numbers."""

import pytest
import torch

from maetool.errors import UsageError
from maetool.ops.geometry import count_kept, grid_of, to_size
from maetool.ops.patches import patchify, take_patches, unpatchify
from maetool.ops.pos_embed import sincos_pos_embed
from maetool.ops.random import KeyedRandom, mix, sample_keys
from maetool.ops.stats import along_channels, patch_stats


@pytest.mark.parametrize(
    ("size", "patch"), [((16, 24), (4, 8)), ((8, 8), (8, 8)), ((12,), (3,)), ((4, 6, 10), (2, 3, 5))]
)
@pytest.mark.parametrize("chans", [1, 3, 7])
def test_patchify_and_back(size, patch, chans):
    images = torch.randn(2, chans, *size)
    patches = patchify(images, patch)
    grid = grid_of(size, patch)
    assert torch.equal(unpatchify(patches, grid, patch), images)
    ids = torch.stack([torch.randperm(patches.shape[1])[:1] for _ in range(2)])
    taken = take_patches(images, patch, ids).movedim(2, -1).flatten(2)
    assert torch.equal(taken, patches.gather(1, ids[..., None].expand(-1, -1, patches.shape[2])))


def test_order_inside_a_patch_is_row_column_channel():
    images = torch.arange(2 * 2 * 3).view(1, 2, 2, 3).permute(0, 3, 1, 2)  # value = row * 6 + column * 3 + channel
    assert patchify(images, (2, 2))[0, 0].tolist() == list(range(12))


@pytest.mark.parametrize(
    ("length", "ratio", "kept"),
    [(196, 0.75, 49), (256, 0.75, 64), (100, 0.9, 10), (10, 0.7, 3), (196, 0.6, 78), (36, 0.1, 32), (16, 0.75, 4)],
)
def test_count_kept(length, ratio, kept):
    assert count_kept(length, ratio) == kept


@pytest.mark.parametrize("ratio", [0, 1, -0.1, 1.5, "0.75", None, True, float("nan")])
def test_count_kept_refuses(ratio):
    with pytest.raises(UsageError, match="between 0 and 1"):
        count_kept(100, ratio)


@pytest.mark.parametrize("value", [0, -1, 2.0, "224", (224,), (1, 2, 3), (0, 5), None])
def test_to_size_refuses(value):
    with pytest.raises(UsageError, match="img_size is"):
        to_size(value, "img_size")


def test_grid_names_the_nearest_size():
    with pytest.raises(UsageError, match=r"225x100 pixels .* patches of 16x16.* 224x96"):
        grid_of((225, 100), (16, 16))
    with pytest.raises(UsageError, match="is 16x16"):
        grid_of((3, 16), (16, 16))


def test_sincos_fixture():
    table = sincos_pos_embed(8, (2, 2))[0]
    assert table[1].tolist() == pytest.approx([0.841471, 0.01, 0.540302, 0.99995, 0, 0, 1, 1], abs=1e-5)
    assert table[2].tolist() == pytest.approx([0, 0, 1, 1, 0.841471, 0.01, 0.540302, 0.99995], abs=1e-5)


@pytest.mark.parametrize("grid", [(5,), (2, 7), (2, 3, 4)])
def test_sincos_of_any_rank(grid):
    table = sincos_pos_embed(24, grid, num_prefix_tokens=2)
    assert table.shape == (1, 2 + torch.Size(grid).numel(), 24)
    assert torch.equal(table[0, :2], torch.zeros(2, 24))
    assert len(table[0, 2:].unique(dim=0)) == torch.Size(grid).numel()


def test_sincos_cannot_be_changed_through_its_cache():
    sincos_pos_embed(8, (2, 2)).zero_()
    assert sincos_pos_embed(8, (2, 2)).abs().sum() > 1


def test_patch_stats_are_unbiased():
    patches = torch.randn(2, 3, 12)
    mean, std = patch_stats(patches)
    assert torch.allclose(mean, patches.mean(-1, keepdim=True))
    assert torch.allclose(std**2, patches.var(-1, keepdim=True, correction=1) + 1e-6)


def test_the_deviation_of_one_number_is_zero():
    mean, std = patch_stats(torch.tensor([[3.0], [-2.0]]))
    assert mean.tolist() == [[3.0], [-2.0]]
    assert torch.allclose(std, torch.full((2, 1), 1e-3))


@pytest.mark.parametrize("size", [(3,), (3, 3), (5, 4), (3, 3, 3), (7, 2, 2)])
def test_numbers_of_channels_lie_along_axis_1(size):
    values = torch.tensor([1.0, 2.0, 3.0])
    for given in (values, values.view(3, 1, 1)):
        spread = torch.zeros(2, 3, *size) + along_channels(given, torch.zeros(2, 3, *size))
        for channel, value in enumerate(values):
            assert (spread[:, channel] == value).all()
    assert (along_channels(torch.ones(1, 1, 1), torch.zeros(2, 5, *size)) + torch.zeros(2, 5, *size) == 1).all()
    with pytest.raises(UsageError, match="must have 3 channels along axis 1"):
        along_channels(values, torch.zeros(3, 2, *size))


def test_uniform_and_normal_have_their_moments():
    rng = KeyedRandom(sample_keys(0, 0, torch.arange(1000)))
    uniform, normal = rng.uniform(1000), rng.normal(1000)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.002)
    assert uniform.var().item() == pytest.approx(1 / 12, abs=0.001)
    assert normal.mean().item() == pytest.approx(0, abs=0.005)
    assert normal.std().item() == pytest.approx(1, abs=0.005)
    # Neighbouring keys, neighbouring places and successive calls are independent.
    for other in (uniform.roll(1, 0), uniform.roll(1, 1), rng.uniform(1000)):
        assert torch.corrcoef(torch.stack([uniform.flatten(), other.flatten()]))[0, 1].abs() < 0.004


def test_integers_cover_their_range_evenly():
    counts = torch.bincount(KeyedRandom(sample_keys(3, 1, torch.arange(700))).integers(7, 100).flatten())
    assert len(counts) == 7
    assert (counts - 10_000).abs().max() < 400


@pytest.mark.parametrize("high", [2**24 + 1, 2**30, 3 * 2**40, 2**53 - 1, 2**53])
def test_large_integers_use_every_bit(high):
    drawn = KeyedRandom(sample_keys(3, 1, torch.arange(500))).integers(high, 100)
    assert drawn.min() >= 0
    assert drawn.max() < high
    for part in (64, 7):  # the lowest digits are even, and so are the highest
        counts = torch.bincount((drawn % part).flatten()), torch.bincount((drawn // (high // part + 1)).flatten())
        for count in counts:
            assert len(count) == part
            assert (count - 50_000 / part).abs().max() < 5 * (50_000 / part) ** 0.5
    assert len(drawn.unique()) == pytest.approx(50_000 - 50_000**2 / 2 / high, abs=20)


def test_integers_below_large_numbers_in_a_tensor():
    keys = sample_keys(3, 1, torch.arange(6))
    high = torch.tensor([[7], [2**24], [2**24 + 1], [2**30], [2**40], [2**53]])
    drawn = KeyedRandom(keys).integers(high, 50)
    for row, single in enumerate(high.flatten().tolist()):
        assert torch.equal(drawn[row : row + 1], KeyedRandom(keys[row : row + 1]).integers(single, 50))


def test_small_integers_are_drawn_as_ever():
    keys = sample_keys(3, 1, torch.arange(4))
    assert KeyedRandom(keys).integers(1000, 5)[0].tolist() == [841, 258, 555, 687, 605]
    for high in (1, 2, 7, 196, 2**20, 2**24 - 1, 2**24):
        expected = (KeyedRandom(keys).uniform(500).double() * high).long()
        assert torch.equal(KeyedRandom(keys).integers(high, 500), expected)


@pytest.mark.parametrize("high", [0, -1, 2**53 + 1])
def test_integers_refuse_what_they_cannot_draw(high):
    with pytest.raises(UsageError, match=r"from 1 to 2\*\*53"):
        KeyedRandom(torch.arange(2)).integers(high, 3)


@pytest.mark.parametrize(
    "high", [5.0, True, "5", None, torch.tensor(5.0), torch.tensor([2, 3]).double(), torch.tensor(True)]
)
def test_integers_refuse_bounds_that_are_no_integers(high):
    with pytest.raises(UsageError, match=r"^high is .*, but must be an integer or a tensor of integers: convert it"):
        KeyedRandom(torch.arange(2)).integers(high, 2)


@pytest.mark.parametrize("length", [1, 196, 4096])
def test_orders_of_today_are_uniform_numbers(length):
    keys = torch.arange(3)
    assert torch.equal(KeyedRandom(keys).order(length), KeyedRandom(keys).uniform(length))


def test_a_long_order_has_no_ties():
    order = KeyedRandom(sample_keys(0, 0, torch.arange(3))).order(500, 200).flatten(1)
    assert order.min() == 0
    assert order.max() < 1
    for row in order:
        assert len(row.unique()) == 100_000
    assert torch.corrcoef(torch.stack([order[0], order[1]]))[0, 1].abs() < 0.02
    assert torch.corrcoef(torch.stack([order[0], torch.arange(100_000.0)]))[0, 1].abs() < 0.02


def test_keys_depend_on_seed_epoch_and_index_only():
    index = torch.arange(1000)
    keys = sample_keys(1, 2, index)
    assert len(keys.unique()) == 1000
    assert torch.equal(keys[10:20], sample_keys(1, 2, index[10:20]))
    for other in (sample_keys(2, 2, index), sample_keys(1, 3, index), sample_keys(2, 1, index)):
        assert not (keys == other).any()


def test_mix_is_splitmix64():
    # First outputs of splitmix64 seeded with 0 and with 1234567, from the reference implementation.
    for seed, expected in ((0, 0xE220A8397B1DCDAF), (1234567, 6457827717110365317)):
        assert mix(torch.tensor(seed), 0).item() % 2**64 == expected
