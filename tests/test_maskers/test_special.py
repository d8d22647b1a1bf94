"""Maskers whose plans are more than scores of one grid."""

import math

import pytest
import torch

from maetool.encoders import VisionTransformer
from maetool.errors import UsageError
from maetool.maskers import (
    AdaptiveMasker,
    AlsoVisibleMasker,
    AttentionMasker,
    ChangeMasker,
    MixedMasker,
    MultiBlockMasker,
    NoMasker,
    ScheduledMasker,
    StreamMasker,
    TubeMasker,
    VariableMasker,
)
from maetool.ops.random import sample_keys
from maetool.structures import Layout
from maetool.teachers import MomentumTeacher


def plan_of(masker, grid, batch=256, **options):
    return masker(torch.zeros(batch, 3, 1, 1), grid, keys=sample_keys(0, 0, torch.arange(batch)), **options).validate()


def test_tubes_hide_the_same_places_in_all_slices():
    plan = plan_of(TubeMasker(0.9), (8, 14, 14))
    mask = plan.mask.view(-1, 8, 196)
    assert mask.eq(mask[:, :1]).all() and mask[:, 0].sum(dim=1).eq(176).all()  # VideoMAE rounds the removed down
    few = plan_of(TubeMasker(0.9, predict_ratio=0.5), (8, 14, 14))
    asked = torch.zeros(256, 8 * 196).scatter(1, few.ids_predict, 1.0).view(-1, 8, 196)
    assert asked.eq(asked[:, :1]).all() and few.ids_predict.shape[1] == 8 * 98
    with pytest.raises(UsageError, match="a grid of 40 has none"):
        plan_of(TubeMasker(), (40,))


def test_tubes_of_blocks():
    block = {"type": "BlockMasker", "mask_ratio": 0.5}
    mask = plan_of(TubeMasker(0.5, masker=block), (4, 14, 14)).mask.view(-1, 4, 14, 14)
    near = (mask[..., 1:] == mask[..., :-1]).float().mean()
    random = plan_of(TubeMasker(0.5), (4, 14, 14)).mask.view(-1, 4, 14, 14)
    assert mask.eq(mask[:, :1]).all() and near > (random[..., 1:] == random[..., :-1]).float().mean() + 0.15


STREAMS = {"a": (12, 12), "b": (12, 12), "c": (12, 12)}


def test_streams_are_drawn_together_or_alike():
    together = plan_of(StreamMasker(0.75), STREAMS)
    own = together.mask.view(-1, 3, 144).sum(dim=2)
    assert own.sum(dim=1).eq(324).all() and own.float().std() > 1
    same = plan_of(StreamMasker(0.75, across="same"), STREAMS).mask.view(-1, 3, 144)
    assert same.eq(same[:, :1]).all() and same[:, 0].sum(dim=1).eq(108).all()
    each = plan_of(TubeMasker(0.75), STREAMS).mask.view(-1, 3, 144)
    assert not each.eq(each[:, :1]).all()
    with pytest.raises(UsageError, match="streams of equal grids, but they are a 2x2 and b 3x3"):
        plan_of(StreamMasker(across="same"), {"a": (2, 2), "b": (3, 3)})


@pytest.mark.parametrize("concentration", [0.5, 1.0, 4.0])
def test_shares_of_streams_follow_a_dirichlet_distribution(concentration):
    plan = plan_of(StreamMasker(5 / 6, across="dirichlet", concentration=concentration), STREAMS, batch=4000)
    share = (~plan.mask).view(-1, 3, 144).sum(dim=2) / 72
    variance = (1 / 3) * (2 / 3) / (3 * concentration + 1)
    assert share.sum(dim=1).sub(1).abs().max() < 1e-6 and share.mean(dim=0).sub(1 / 3).abs().max() < 0.02
    assert share.var(dim=0).mean() == pytest.approx(variance, rel=0.1)


def test_a_drawn_ratio_is_that_of_mage(golden_mage):
    masker = VariableMasker((0.5, 1.0), 0.55, 0.25, drop_ratio=0.5, round_up=True)
    plan = plan_of(masker, (16, 16), batch=4000)
    removed = plan.mask.sum(dim=1)
    assert plan.num_keep == 128 and plan.keep_valid is None  # 127 or more enter as mask tokens or visible
    assert (removed - plan.blank.sum(dim=1)).eq(128).all() and plan.weight.sum(dim=1).eq(removed).all()
    levels = torch.quantile(removed / 256, golden_mage["rate_probability"][::20].float())
    assert (levels - golden_mage["rate_quantile"][::20]).abs().max() < 0.02


@pytest.fixture
def golden_mage():
    # Quantiles of the published distribution, by its formula: a normal one of mean 0.55 and deviation 0.25, cut.
    share = torch.linspace(0.005, 0.995, 199, dtype=torch.float64)
    low, high = (torch.special.ndtr(torch.tensor((x - 0.55) / 0.25, dtype=torch.float64)) for x in (0.5, 1.0))
    return {"rate_probability": share, "rate_quantile": 0.55 + 0.25 * torch.special.ndtri(low + (high - low) * share)}


def test_some_samples_stay_whole():
    plan = plan_of(VariableMasker((0.2, 0.4), unmasked=0.5), (14, 14), batch=1000)
    whole = plan.mask.sum(dim=1) == 0
    assert 0.45 < whole.float().mean() < 0.55 and plan.weight[whole].sum() == 0
    assert plan.keep_valid.sum(dim=1).equal((~plan.mask).sum(dim=1))


def test_a_batch_may_share_a_ratio():
    counts = plan_of(VariableMasker((0.2, 0.8), per="batch"), (14, 14)).mask.sum(dim=1)
    assert len(counts.unique()) == 1


ATTENTION = torch.rand(64, 3, 197, 197, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)


@pytest.mark.parametrize(("choose", "count"), [("high", 58), ("low", 58), ("hint", 53)])
def test_attention_chooses_what_is_hidden(choose, count):
    masker = AttentionMasker((0.3, 0.3), unmasked=0.0, choose=choose)
    mask = plan_of(masker, (14, 14), batch=64, clues={"attention": ATTENTION}).mask
    assert mask.sum(dim=1).eq(count).all()
    order = ATTENTION[:, :, 0, 1:].mean(dim=1).argsort(dim=1, descending=choose != "low")
    top = torch.zeros_like(mask).scatter(1, order[:, :58], True)
    assert mask.equal(top) if choose != "hint" else not (mask & ~top).any()
    if choose == "hint":
        shown = (top & ~mask).gather(1, order)
        assert (
            shown.sum(dim=1).eq(5).all() and not shown[:, 19:].any() and shown[:, :19].float().mean(dim=0).min() > 0.05
        )


def test_what_is_learned_is_drawn_without_replacement():
    torch.manual_seed(0)
    masker = AdaptiveMasker(encoder_dim=8, grid=(4, 4), mask_ratio=0.75)
    tokens = torch.randn(1, 16, 8).expand(20000, -1, -1)
    with torch.no_grad():
        masker.logits.weight.mul_(3)
        plan = plan_of(masker, (4, 4), batch=20000, clues={"tokens": tokens})
    probs = plan.aux["log_probs"][0].exp()
    assert probs.sum() == pytest.approx(1.0, abs=1e-5) and probs.max() > 3 * probs.min()
    first = torch.zeros(16).scatter_add(0, plan.ids_keep[:, 0], torch.ones(20000)) / 20000
    assert (first - probs).abs().max() < 4 * math.sqrt(0.25 / 20000)


def test_a_patch_of_high_error_becomes_likelier():
    torch.manual_seed(0)
    masker = AdaptiveMasker(encoder_dim=8, grid=(4, 4), mask_ratio=0.5)
    tokens = torch.randn(1, 16, 8).expand(64, -1, -1)
    optimizer = torch.optim.Adam(masker.parameters(), lr=0.05)
    errors = torch.linspace(0, 1, 16).expand(64, -1)
    for step in range(30):
        keys = sample_keys(0, step, torch.arange(64))
        plan = masker(torch.zeros(64, 3, 1, 1), (4, 4), keys=keys, clues={"tokens": tokens})
        optimizer.zero_grad()
        masker.loss(plan, errors.gather(1, plan.ids_predict)).backward()
        optimizer.step()
    probs = plan.aux["log_probs"][0].exp()
    assert probs[12:].mean() > 2 * probs[:4].mean()


def test_nothing_is_learned_of_masks_that_are_given():
    masker = AdaptiveMasker(encoder_dim=8, grid=(4, 4), mask_ratio=0.5)
    plan = plan_of(masker, (4, 4), batch=2, given=torch.arange(16).lt(8).expand(2, -1))
    assert masker.eval().loss(plan, torch.ones(2, 8)) == 0
    with pytest.raises(UsageError, match="learns from the masks that it draws, but the masks are given: leave `mask`"):
        masker.train().loss(plan, torch.ones(2, 8))


def test_what_did_not_change_is_left_out():
    tokens = torch.randn(8, 4 * 25, 6, generator=torch.Generator().manual_seed(0))
    tokens = tokens.view(8, 4, 25, 6)
    tokens[:, :, :15] = tokens[:, :1, :15]  # of 25 places 10 change
    plan = plan_of(ChangeMasker(0.9, 0.6), (4, 5, 5), batch=8, clues={"tokens": tokens.flatten(1, 2)})
    assert plan.num_keep == 10 and plan.ids_predict.shape[1] == 30
    assert plan.ids_keep.remainder(25).ge(15).all() and plan.ids_predict.remainder(25).ge(15).all()
    with pytest.raises(UsageError, match="compares slices, but a grid of 1x4 has one"):
        plan_of(ChangeMasker(0.5, 0.1), (1, 4), clues={"tokens": torch.zeros(256, 4, 2)})


def test_some_visible_patches_are_predicted_too():
    masker = AlsoVisibleMasker({"type": "BlockMasker", "mask_ratio": 0.4}, 20)
    plan = plan_of(masker, (14, 14), weight=torch.rand(256, 196))
    asked = torch.zeros(256, 196).scatter(1, plan.ids_predict, 1.0).bool()
    assert (asked & ~plan.mask).sum(dim=1).eq(20).all() and (plan.mask & ~asked).sum() == 0
    assert plan.weight.shape == plan.ids_predict.shape
    few = AlsoVisibleMasker({"type": "RandomMasker"}, 20)
    for use in (few.num_keep, lambda grid: plan_of(few, grid)):  # when a model is built, and of smaller images
        with pytest.raises(UsageError, match="20 visible patches are to be predicted, but only 4 stay visible"):
            use((4, 4))


def test_blocks_are_those_of_i_jepa():
    plan = plan_of(MultiBlockMasker(per="sample"), (14, 14), batch=2000)
    ids, group = plan.ids_predict, plan.group
    asked = torch.zeros(2000, 4 * 196).scatter_add(1, ids + 196 * group, plan.weight).view(2000, 4, 14, 14)
    rows, columns = (asked.amax(dim=axis).sum(dim=2) for axis in (3, 2))
    assert (rows * columns).equal(asked.sum(dim=(2, 3)))  # each is a rectangle
    assert rows.eq(rows[:, :1]).all() and not asked[..., 13, :].any() and not asked[..., 13].any()
    # The sizes that the published code draws in its first 100 steps.
    sizes = set(zip(rows[:, 0].int().tolist(), columns[:, 0].int().tolist(), strict=True))
    assert sizes == {(5, 6), (6, 5), (6, 6), (7, 5), (8, 5)}
    context = ~plan.mask
    assert not (context & (asked.flatten(2).sum(dim=1) > 0)).any() and context.sum(dim=1).min() > 10
    assert 70 < context.sum(dim=1).float().mean() < 105


def test_a_context_that_is_too_small_may_overlap_blocks():
    plan = plan_of(MultiBlockMasker(scale=(0.6, 0.6), aspect=(1.0, 1.0), min_keep=30), (7, 7), batch=64)
    assert (~plan.mask).sum(dim=1).gt(30).all()


FEW = {"type": "RandomMasker", "predict_ratio": 0.25}
GROWING = {"type": "ScheduledMasker", "maskers": [{"type": "RandomMasker"}], "mask_ratios": (0.3, 0.4)}


def teacher_without_class_token():
    options = {"class_token": False, "num_registers": 2}
    return MomentumTeacher(VisionTransformer(16, 8, embed_dim=16, depth=1, num_heads=2, **options))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VariableMasker((0.5, 1.0)), "A ratio of 1 leaves nothing visible"),
        (lambda: VariableMasker((0.5, 1.0), drop_ratio=0.6), "at most 0.5, the smallest ratio"),
        (lambda: VariableMasker((0.6, 0.5)), "a range .low, high."),
        (lambda: VariableMasker((0.2, 0.5), mean=0.3), "must be given together"),
        (lambda: AttentionMasker(hint=0.4), "at most 0.1, the smallest ratio"),
        (lambda: ChangeMasker(0.5, 0.6), "below mask_ratio=0.5"),
        (lambda: StreamMasker(across="alike"), "across is 'alike'"),
        (lambda: MultiBlockMasker(scale=(0.5, 0.2)), "scale is .0.5, 0.2."),
        (lambda: MixedMasker([{"type": "MultiBlockMasker"}]), "MultiBlockMasker makes more than scores"),
        (lambda: AlsoVisibleMasker(AlsoVisibleMasker({"type": "RandomMasker"}, 1)), "predicts visible patches too"),
        (lambda: AlsoVisibleMasker(AdaptiveMasker(8, 4)), "AdaptiveMasker learns from what it alone predicts"),
        (lambda: plan_of(MultiBlockMasker(), (4, 4)), "A context of more than 10 patches does not fit a grid of 4x4"),
        (lambda: TubeMasker(masker=MixedMasker([FEW])), "only the scores of MixedMasker, whose predict_ratio is 0.25"),
        (lambda: MixedMasker([FEW], predict_ratio=0.5), "predict_ratio is 0.5 of a masker of several, and 0.25 of one"),
        (lambda: MixedMasker([FEW, {"type": "RandomMasker"}]).num_predict((8, 8)), "predict different .* .16, 48."),
        (lambda: ScheduledMasker([GROWING], mask_ratios=(0.5, 0.9)), "A schedule of ratios stands in another one"),
        (lambda: ScheduledMasker([{"type": "GroupMasker"}], mask_ratios=(0.5, 0.9)), "no schedule can change its"),
        (lambda: AttentionMasker(model_teacher=teacher_without_class_token()), "class token looks, but .* has none"),
        (lambda: TubeMasker(masker={"type": "VariableMasker", "ratios": (0.2, 0.5)}), "VariableMasker makes more than"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_a_layout_with_padding():
    valid = torch.arange(40) < torch.tensor([[40], [20], [8]])
    for masker in (StreamMasker(0.75), StreamMasker(0.75, masker={"type": "RandomMasker"})):
        plan = masker(torch.zeros(3, 3, 1, 1), Layout({"points": (40,)}, valid=valid)).validate()
        assert (~plan.mask & ~valid).sum() == 0 and (~plan.mask).sum(dim=1).tolist() == [10, 5, 2]
        assert plan.weight.sum(dim=1).tolist() == [30, 15, 6]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"ratios": (0.25, 0.25)}, [30, 15, 6]),  # of 40, 20 and 8
        ({"ratios": (0.9, 0.9), "round_up": True}, [4, 2, 0]),
        ({"ratios": (0.5, 0.5), "unmasked": 0.999}, [40, 20, 8]),
    ],
)
def test_a_drawn_ratio_is_that_of_each_length(options, kept):
    valid = torch.arange(40) < torch.tensor([[40], [20], [8]])
    plan = plan_of(VariableMasker(**options), Layout({"words": (40,)}, valid=valid), batch=3)
    assert (~plan.mask).sum(dim=1).tolist() == [max(1, number) for number in kept]
    assert ((~plan.mask).sum(dim=1) + plan.weight.sum(dim=1)).equal(valid.sum(dim=1).float())


def test_shares_of_streams_are_those_of_what_is_no_padding():
    valid = torch.arange(40).expand(2000, -1).remainder(20) < 10  # the second half of both streams
    masker = StreamMasker(0.5, across="dirichlet", concentration=1e4)
    plan = plan_of(masker, Layout({"a": (20,), "b": (20,)}, valid=valid), batch=2000)
    assert not (~plan.mask & ~valid).any() and plan.weight.sum(dim=1).eq(10).all()
    assert (~plan.mask)[:, :20].sum(dim=1).sub(5).abs().max() <= 1  # nearly equal shares of 10


def test_a_given_mask_leaves_padding_out():
    valid = torch.arange(6) < torch.tensor([[6], [4]])
    given = torch.tensor([[1, 0, 1, 0, 1, 0], [1, 1, 0, 0, 1, 0]])
    plan = plan_of(TubeMasker(), Layout({"words": (6,)}, valid=valid), batch=2, given=given)
    assert plan.mask.tolist() == [[1, 0, 1, 0, 1, 0], [1, 1, 0, 0, 1, 1]]
    asked = torch.zeros(2, 6).scatter_add(1, plan.ids_predict, plan.weight)
    assert asked.tolist() == [[1, 0, 1, 0, 1, 0], [1, 1, 0, 0, 0, 0]]


def test_padding_is_neither_visible_nor_predicted_where_nothing_is_hidden():
    valid = torch.tensor([[True] * 4, [True, True, False, False]])
    layout = Layout({"points": (4,)}, valid=valid)
    plan = NoMasker()(
        torch.zeros(2, 1), layout, keys=torch.arange(2), weight=torch.tensor([[2.0, 1, 1, 1]] * 2)
    ).validate()
    assert torch.equal(plan.mask, ~valid)
    assert torch.equal(plan.keep_valid, valid)
    assert plan.weight.tolist() == [[2, 1, 1, 1], [2, 1, 0, 0]]
    assert plan_of(NoMasker(), (2, 2), 2).weight is None


def test_maskers_of_several_use_what_these_are_set_to():
    change = {"type": "ChangeMasker", "mask_ratio": 0.75, "redundancy": 0.25}
    clues = {"tokens": torch.randn(4, 64, 8, generator=torch.Generator().manual_seed(0))}
    for masker in (MixedMasker([change]), ScheduledMasker([change])):
        plan = plan_of(masker, (4, 4, 4), batch=4, clues=clues)
        assert (plan.num_keep, plan.ids_predict.shape[1]) == (16, 32)  # what did not change is not predicted
    for masker in (MixedMasker([FEW, FEW]), ScheduledMasker([FEW])):
        assert plan_of(masker, (8, 8), batch=4).ids_predict.shape[1] == 16


def test_a_schedule_reaches_the_maskers_of_a_mixture():
    mixture = {
        "type": "MixedMasker",
        "maskers": [{"type": "RandomMasker"}, {"type": "BlockMasker", "mask_ratio": 0.75}],
    }
    masker = ScheduledMasker([mixture], mask_ratios=(0.5, 0.75))
    for masker.progress, kept in ((0.0, 32), (1.0, 16)):
        assert plan_of(masker, (8, 8), batch=4).num_keep == kept
