"""What each masker promises beyond the contract: counts, statistics, structure."""

from math import ceil, cos, floor, pi
from pathlib import Path

import numpy as np
import pytest
import torch

from maetool.errors import UsageError
from maetool.maskers import (
    AlignedMasker,
    BlockMasker,
    ColorNoiseMasker,
    GivenMasker,
    GridMasker,
    InverseBlockMasker,
    MixedMasker,
    RandomMasker,
    ScheduledMasker,
)
from maetool.ops.random import KeyedRandom, sample_keys
from maetool.structures import MaskPlan

SMALL = (256, 32, 32)
COLORS = ["white", "red", "blue", "green", "purple"]
FREE = [RandomMasker, BlockMasker, InverseBlockMasker, GridMasker]  # any ratio on any grid
GRIDS = [(6, 6), (10, 10), (14, 14), (16, 16), (20, 20), (4, 9), (8, 32)]


def plan_of(masker, batch=512, grid=(14, 14), epoch=0, **options):
    images = torch.zeros(batch, 3, 1, 1)
    return masker(images, grid, keys=sample_keys(0, epoch, torch.arange(batch)), **options).validate()


def picture(masker, batch=512, grid=(14, 14)):
    return plan_of(masker, batch, grid).mask.view(batch, *grid)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5, 0.6, 0.75, 0.9, 0.95])
@pytest.mark.parametrize("cls", [*FREE, ColorNoiseMasker], ids=lambda cls: cls.__name__)
def test_exact_counts(cls, ratio, grid):
    options = {"bank_size": SMALL} if cls is ColorNoiseMasker else {}
    length = grid[0] * grid[1]
    exact = length * (1 - ratio)
    rounded = ceil if cls is InverseBlockMasker else floor  # CAPI rounds the removed ones down
    kept = round(exact) if abs(exact - round(exact)) < 1e-6 else rounded(exact)
    mask = plan_of(cls(mask_ratio=ratio, **options), batch=16, grid=grid).mask
    assert (mask.sum(1) == length - kept).all()


@pytest.mark.parametrize("cls", [RandomMasker, BlockMasker, InverseBlockMasker], ids=lambda cls: cls.__name__)
def test_scores_of_long_sequences_do_not_tie(cls):
    scores = cls().scores(KeyedRandom(sample_keys(0, 0, torch.arange(2))), (250, 400))
    assert [len(row.unique()) for row in scores] == [100_000, 100_000]


@pytest.mark.parametrize("cls", [RandomMasker, GridMasker, InverseBlockMasker], ids=lambda cls: cls.__name__)
def test_visible_rate_is_uniform_over_positions(cls):
    rate = (~picture(cls(mask_ratio=0.75), batch=8192)).float().mean(0)
    # Five standard deviations of a mean of 8,192 draws with probability 0.25.
    assert (rate - 0.25).abs().max() < 5 * (0.25 * 0.75 / 8192) ** 0.5


@pytest.mark.parametrize("color", COLORS)
def test_visible_rate_of_colours_is_uniform(color):
    rate = (~picture(ColorNoiseMasker(color, bank_size=(2048, 32, 32)), batch=8192)).float().mean(0)
    assert (rate - 0.25).abs().max() < 0.05
    assert rate.mean().item() == pytest.approx(0.25, abs=1e-6)


def spectrum(masker):
    """Return the mean power of the mask at low, middle and high frequencies, in units of that of white noise."""
    mask = picture(masker, batch=2048, grid=(16, 16)).float()
    power = torch.fft.fft2(mask - mask.mean((1, 2), keepdim=True)).abs().square().mean(0) / (256 * 0.1875)
    frequency = torch.fft.fftfreq(16)
    radius = (frequency[:, None] ** 2 + frequency[None, :] ** 2).sqrt()
    bands = [(0.03, 0.07), (0.1, 0.19), (0.45, 0.75)]  # in cycles a patch
    return [power[(radius > low) & (radius < high)].mean().item() for low, high in bands]


def test_spectra_are_those_of_the_colours():
    bands = {color: spectrum(ColorNoiseMasker(color, bank_size=(512, 64, 64))) for color in COLORS}
    assert bands["white"] == pytest.approx([1, 1, 1], abs=0.06)
    low, middle, high = bands["red"]
    assert low > 2 * middle > 4 * high
    low, middle, high = bands["blue"]
    assert low < 0.7 < 1 < high
    low, middle, high = bands["green"]
    assert middle > 1.3
    assert middle > 1.3 * low
    assert middle > 1.3 * high
    low, middle, high = bands["purple"]
    assert middle < 0.9
    assert low > 1.2 * middle
    assert high > 1.2 * middle


def test_windows_to_masks_as_published(data_dir):
    golden = np.load(data_dir / "color_window_to_mask.npz")
    window = torch.from_numpy(golden["window"])
    plan = MaskPlan.from_scores(-window.flatten(1), 49, (14, 14))
    assert np.array_equal(plan.mask.numpy(), golden["mask"].astype(bool))
    assert np.array_equal(plan.ids_keep.numpy(), golden["ids_keep"])
    assert np.array_equal(plan.ids_restore.numpy(), golden["ids_restore"])


def test_a_published_bank_file_is_read(tmp_path, data_dir):
    window = np.load(data_dir / "color_window_to_mask.npz")["window"]
    np.savez(tmp_path / "bank.npz", window)
    masker = ColorNoiseMasker(bank_file=str(tmp_path / "bank.npz"), per_sample=False)
    mask = picture(masker, batch=4)  # the only place there is, in one of four flips
    published = torch.from_numpy(np.load(data_dir / "color_window_to_mask.npz")["mask"].astype(bool)).view(4, 14, 14)
    flips = [published, published.flip(1), published.flip(2), published.flip(1, 2)]
    assert any(torch.equal(mask, flip) for flip in flips)


def test_the_bank_depends_on_the_seed_only():
    first, again = (ColorNoiseMasker(bank_size=SMALL).make_bank(torch.device("cpu")) for _ in range(2))
    other = ColorNoiseMasker(bank_size=SMALL, seed=1).make_bank(torch.device("cpu"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_bank_is_periodic():
    bank = ColorNoiseMasker("red", bank_size=SMALL).make_bank(torch.device("cpu"))
    inside = (bank[:, 1:] - bank[:, :-1]).square().mean()
    across = (bank[:, 0] - bank[:, -1]).square().mean()
    assert across.item() == pytest.approx(inside.item(), rel=0.1)


def test_one_draw_for_the_batch_or_one_for_each_sample():
    masker = ColorNoiseMasker(bank_size=(1, 32, 32), per_sample=False)
    assert len(picture(masker, batch=50).unique(dim=0)) == 1
    assert len(picture(ColorNoiseMasker(bank_size=(1, 32, 32)), batch=50).unique(dim=0)) > 40


def test_blocks_are_blocks():
    def pairs(masker):
        """Share of the horizontal neighbours that agree."""
        mask = picture(masker)
        return (mask[:, :, 1:] == mask[:, :, :-1]).float().mean().item()

    assert pairs(RandomMasker(0.4)) == pytest.approx(0.52, abs=0.01)
    assert pairs(BlockMasker(0.4)) > 0.75
    assert pairs(InverseBlockMasker(0.4)) > 0.85


def test_inverse_block_is_one_rectangle_rolled():
    visible = ~picture(InverseBlockMasker(0.75), batch=200)
    for one in visible:
        shape = next(
            rolled
            for i in range(14)
            for j in range(14)
            if not (rolled := one.roll((i, j), (0, 1)))[-1].any() and not rolled[:, -1].any()
        )
        rows, columns = shape.any(1).sum().item(), shape.any(0).sum().item()
        assert 0 <= rows * columns - 49 < columns


@pytest.mark.parametrize(("grid", "unit"), [((14, 14), 2), ((12, 20), (3, 5)), ((48, 48), 8)])
def test_units_stay_whole(grid, unit):
    masker = AlignedMasker(0.6, unit=unit)
    high, wide = (unit, unit) if isinstance(unit, int) else unit
    cells = picture(masker, batch=64, grid=grid).view(64, grid[0] // high, high, grid[1] // wide, wide)
    assert (cells.any(4).any(2) == cells.all(4).all(2)).all()


def test_units_are_counted_as_simmim_counts_them():
    assert AlignedMasker(0.6, unit=8).num_keep((48, 48)) == (36 - 22) * 64
    assert AlignedMasker(0.6, unit=2).num_keep((14, 14)) == (49 - 30) * 4


def test_grid_at_three_quarters_keeps_one_of_four():
    visible = ~picture(GridMasker(0.75), batch=64)
    cells = visible.view(64, 7, 2, 7, 2).permute(0, 2, 4, 1, 3).flatten(3)
    assert (cells.all(3) | ~cells.any(3)).all()
    assert len(visible.unique(dim=0)) == 4


@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.9])
def test_grid_at_other_ratios_is_even(ratio):
    """Every quarter of the grid holds nearly the same number of visible patches, unlike at random."""

    def spread(masker):
        quarters = (~picture(masker, grid=(16, 16))).view(-1, 2, 8, 2, 8).sum((2, 4)).float()
        return quarters.std(dim=0).mean().item()

    assert spread(GridMasker(ratio)) < 0.6 * spread(RandomMasker(ratio))


@pytest.mark.parametrize("cls", [*FREE, ColorNoiseMasker], ids=lambda cls: cls.__name__)
def test_partial_prediction(cls):
    plan = plan_of(cls(mask_ratio=0.75, predict_ratio=0.25), batch=32)
    assert plan.ids_predict.shape == (32, 49)
    assert plan.mask.gather(1, plan.ids_predict).all()
    assert (plan.mask.sum(1) == 147).all()


def test_partial_prediction_covers_all_removed_patches_evenly():
    plan = plan_of(RandomMasker(0.75, predict_ratio=0.25), batch=8192)
    counts = torch.bincount(plan.ids_predict.flatten(), minlength=196) / 8192
    assert (counts - 0.25).abs().max() < 0.025


def test_given_masks_in_patches_and_pixels():
    mask = plan_of(RandomMasker(0.75), batch=4).mask
    pixels = mask.view(4, 14, 14).repeat_interleave(16, 1).repeat_interleave(16, 2)
    corner = torch.zeros_like(pixels)
    corner[:, ::16, ::16] = mask.view(4, 14, 14)  # one pixel of a patch removes it
    for masker in (GivenMasker(), RandomMasker(), ColorNoiseMasker(bank_size=SMALL)):
        for given in (mask, mask.float(), mask.view(4, 14, 14), pixels, corner):
            assert torch.equal(plan_of(masker, batch=4, given=given).mask, mask)


def test_weights_in_patches_and_pixels():
    weight = torch.ones(4, 14, 14)
    weight[:, :5] = 0
    pixels = weight.repeat_interleave(16, 1).repeat_interleave(16, 2)
    for given in (weight, pixels, weight.flatten(1)):
        plan = plan_of(RandomMasker(0.75), batch=4, weight=given)
        assert torch.equal(plan.weight, (plan.ids_predict >= 70).float())


def test_mixture_per_sample_and_per_batch():
    parts = [{"type": "RandomMasker"}, {"type": "GridMasker"}]
    patterns = picture(GridMasker(0.75), batch=64).unique(dim=0)

    def regular(mask):
        return (mask[:, None] == patterns).flatten(2).all(2).any(1)

    share = regular(picture(MixedMasker(parts, [1, 3]), batch=2048)).float().mean().item()
    assert share == pytest.approx(0.75, abs=0.05)
    seen = set()
    for epoch in range(30):
        mask = plan_of(MixedMasker(parts, per="batch"), batch=16, epoch=epoch).mask.view(16, 14, 14)
        assert len(regular(mask).unique()) == 1
        seen.add(regular(mask)[0].item())
    assert seen == {True, False}


def test_schedule_of_maskers_and_ratios():
    masker = ScheduledMasker([{"type": "GridMasker"}, {"type": "RandomMasker"}], starts=[0, 0.5])
    seen = []
    for masker.progress in (0.0, 0.49, 0.5, 1.0):
        seen.append(len(picture(masker, batch=64).unique(dim=0)) == 4)
    assert seen == [True, True, False, False]
    ratios = ScheduledMasker([{"type": "RandomMasker"}], mask_ratios=(0.5, 0.9), predict_ratio=0.25)
    kept = []
    for ratios.progress in (0.0, 0.5, 1.0):
        plan = plan_of(ratios, batch=2, grid=(10, 10))
        kept.append((plan.num_keep, plan.ids_predict.shape[1]))
    assert kept == [(50, 25), (30, 25), (10, 25)]
    ratios.progress = 0.0
    assert plan_of(ratios.eval(), batch=2, grid=(10, 10)).num_keep == 10


# As AnonymousPony/lmd: 15 to 75 % in the first two thirds; the share of training that is over, and the ratio then.
GROWING = {
    "cosine": {(0.15, 0.75, 0.75): (0, 2 / 3, 1)},
    "linear": {(0.15, 0.4, 0.4, 0.75, 0.75): (0, 1 / 6, 1 / 3, 2 / 3, 1)},
}


def published_cosine(progress):
    over = (min(1.5 * progress, 1) + 0.008) / 1.008
    return 0.15 + 0.6 * (1 - cos(over * pi / 2) ** 2)


def published_steps(progress):
    first = 0.15 + 0.25 * min(progress / (1 / 6), 1)
    return first + 0.35 * min(max(progress - 1 / 3, 0) / (1 / 3), 1)


@pytest.mark.parametrize(
    ("curve", "published", "tolerance"), [("cosine", published_cosine, 0.005), ("linear", published_steps, 1e-9)]
)
def test_ratios_that_grow_as_published(curve, published, tolerance):
    ((ratios, shares),) = GROWING[curve].items()
    masker = ScheduledMasker([RandomMasker()], mask_ratios=ratios, ratio_at=shares, curve=curve)
    for progress in (0, 0.1, 1 / 6, 0.25, 1 / 3, 0.4, 0.5, 0.6, 2 / 3, 0.9, 1):
        masker.progress = progress
        assert masker.current.mask_ratio == pytest.approx(published(progress), abs=tolerance)
    assert masker.eval().current.mask_ratio == 0.75


def test_ratios_are_evenly_spaced_by_default():
    masker = ScheduledMasker([RandomMasker()], mask_ratios=(0.2, 0.6, 0.4))
    for progress, ratio in {0: 0.2, 0.25: 0.4, 0.5: 0.6, 0.75: 0.5, 1: 0.4}.items():
        masker.progress = progress
        assert masker.current.mask_ratio == pytest.approx(ratio)


def test_a_masker_may_ask_for_images_and_advisors():
    from maetool.maskers import Masker

    class Dark(Masker):
        needs = ("images", "attention")

        def scores(self, rng, grid, images, attention):
            return images.mean((1, 2, 3))[:, None] + attention

    attention = torch.rand(4, 16)
    images = torch.rand(4, 3, 8, 8)
    plan = Dark(0.5)(images, (4, 4), clues={"attention": attention})
    assert torch.equal(plan.ids_keep, attention.argsort(dim=1)[:, :8])
    with pytest.raises(UsageError, match="needs `attention`, but the model has advisors for nothing"):
        Dark(0.5)(images, (4, 4))


def write(path, **arrays):
    np.savez(path, **arrays)
    return str(path)


def test_bad_input(tmp_path):
    cut = tmp_path / "cut.npz"
    cut.write_bytes(Path(write(tmp_path / "whole.npz", a=np.zeros((3, 20, 20)))).read_bytes()[:3000])
    flat = write(tmp_path / "flat.npz", a=np.zeros((20, 20)))
    mistakes = [
        (lambda: AlignedMasker(unit=4), "Units of 4x4 patches do not divide a grid of 14x14"),
        (lambda: AlignedMasker(unit=0), "unit is 0, but must be a positive integer"),
        (lambda: ColorNoiseMasker("pink"), "color is 'pink', but must be one of white, red"),
        (lambda: ColorNoiseMasker("green", sigma1=(1, 2)), r"sigma1 \(1, 2\) does not lie below sigma2 \(1.5, 3.0\)"),
        (lambda: ColorNoiseMasker("red", sigma2=(1, 2)), "red noise has no sigma2"),
        (lambda: ColorNoiseMasker("red", sigma1=(2, 1)), "sigma1 is .*, but must be a range"),
        (lambda: ColorNoiseMasker(bank_file=str(tmp_path / "no.npz")), "There is no noise bank"),
        (lambda: ColorNoiseMasker(bank_file=str(cut)), "cannot be read"),
        (lambda: ColorNoiseMasker(bank_file=flat), r"an array of shape \(20, 20\)"),
        (lambda: ColorNoiseMasker(bank_size=(4, 8, 8)), "grid of 14x14 patches does not fit the noise bank of 8x8"),
        (lambda: RandomMasker(0.5, predict_ratio=0.6), "predict_ratio is 0.6, but must be above 0 and at most"),
        (lambda: BlockMasker(aspect=(2, 1)), "aspect is"),
        (lambda: BlockMasker(min_patches=0), "min_patches is 0"),
        (lambda: GivenMasker(), "GivenMasker needs a `mask` in every batch"),
        (lambda: MixedMasker([]), "empty list"),
        (lambda: MixedMasker([RandomMasker()], [1, 2]), r"probabilities are \[1, 2\] for 1 maskers"),
        (lambda: MixedMasker([RandomMasker(0.5), RandomMasker(0.75)]), r"different numbers of patches \(49, 98\)"),
        (lambda: ScheduledMasker([RandomMasker()], starts=[0.5]), r"starts are \[0.5\]"),
        (lambda: ScheduledMasker([RandomMasker()], mask_ratios=(0.5,)), "must be two"),
        (lambda: ScheduledMasker([RandomMasker()], mask_ratios=(0.5, 1.0)), "mask_ratio is 1.0"),
        (
            lambda: ScheduledMasker([RandomMasker()], mask_ratios=(0.5, 0.6), ratio_at=(0, 0.5)),
            r"ratio_at is \[0, 0.5\]",
        ),
        (
            lambda: ScheduledMasker([RandomMasker()], mask_ratios=(0.1, 0.2, 0.3), ratio_at=(0, 0, 1)),
            "ascending from 0",
        ),
        (lambda: ScheduledMasker([RandomMasker()], mask_ratios=(0.5, 0.6), curve="square"), "curve is 'square'"),
        (lambda: ScheduledMasker([RandomMasker()], curve="cosine"), "give mask_ratios too"),
    ]
    for make, sentence in mistakes:
        with pytest.raises(UsageError, match=sentence) as info:
            plan_of(make(), batch=2)
        assert "\n" not in str(info.value)
    with pytest.raises(UsageError, match=r"weight has the shape \(2, 3\)"):
        plan_of(RandomMasker(), batch=2, weight=torch.ones(2, 3))


def test_any_removed_patch_of_an_inverse_block_may_be_predicted():
    """Also those that the last row of the block lost to the count of the visible ones."""
    plan = plan_of(InverseBlockMasker(mask_ratio=0.65, predict_ratio=0.1, roll=False), batch=8192)
    chosen = torch.zeros(8192, 196).scatter(1, plan.ids_predict, 1.0)
    rates = chosen.sum(dim=0) / plan.mask.sum(dim=0)
    assert (rates - 20 / 127).abs().max() < 0.04
