"""Plans of samples that differ in their numbers, plans of several streams, and plans in files."""

from dataclasses import replace

import pytest
import torch

from maetool.errors import UsageError
from maetool.structures import (
    Layout,
    MaskPlan,
    join_plans,
    part_of_plan,
    plan_from_dict,
    plan_of_cells,
    plan_to_dict,
    scores_without_padding,
    tokens_of_stream,
)

STREAMS = {"rgb": (2, 3), "depth": (2, 2)}


def scores(length, batch=3, seed=0):
    return torch.rand(batch, length, generator=torch.Generator().manual_seed(seed))


def test_a_layout_numbers_its_streams_in_their_order():
    layout = Layout.of(STREAMS)
    assert (layout.length, layout.lengths) == (10, {"rgb": 6, "depth": 4})
    assert layout.slices == {"rgb": slice(0, 6), "depth": slice(6, 10)}
    assert str(layout) == "rgb 2x3 and depth 2x2" and str(Layout.of((4, 4))) == "4x4"
    with pytest.raises(UsageError, match=r"2 streams \(rgb, depth\), but this part works on one grid"):
        _ = layout.grid
    with pytest.raises(UsageError, match="no stream 'sound', only rgb, depth"):
        layout.only("sound")


def test_blank_patches_are_removed_and_enter():
    plan = MaskPlan.from_scores(scores(10), 3, (2, 5), num_blank=2).validate()
    assert plan.num_keep == 5 and plan.blank.sum(dim=1).tolist() == [2, 2, 2]
    assert plan.mask.sum(dim=1).tolist() == [7, 7, 7] and plan.mask_ratio == pytest.approx(0.7)
    assert plan.mask.gather(1, plan.ids_keep).equal(plan.blank)


def test_samples_of_different_numbers_are_padded():
    keep = torch.tensor([2, 10, 5])
    plan = MaskPlan.from_scores(scores(10), keep, (2, 5)).validate()
    assert plan.keep_valid.sum(dim=1).tolist() == keep.tolist()
    assert plan.mask.sum(dim=1).tolist() == [8, 0, 5] and plan.weight.sum(dim=1).tolist() == [8, 0, 5]
    for i, number in enumerate(keep.tolist()[:1] + keep.tolist()[2:]):
        i = [0, 2][i]
        alone = MaskPlan.from_scores(scores(10)[i : i + 1], number, (2, 5))
        assert plan.ids_keep[i, :number].equal(alone.ids_keep[0])
        assert plan.ids_predict[i][plan.weight[i] > 0].equal(alone.ids_predict[0])
    errors = torch.arange(24.0).view(3, 8)
    assert plan.average(errors) == (errors[0].sum() + errors[2][plan.weight[2] > 0].sum()) / 13


def test_padding_is_not_restored():
    plan = MaskPlan.from_scores(scores(10), torch.tensor([2, 4, 3]), (2, 5))
    tokens = torch.full((3, 1 + 4, 2), 7.0)
    places = plan.restore(tokens, torch.zeros(1, 1, 1), 1)
    assert places.shape == (3, 11, 2) and places[:, 1:, 0].count_nonzero(dim=1).tolist() == [2, 4, 3]
    assert places[:, 1:, 0].eq(0).equal(plan.mask)
    seen = plan.predicting("visible")
    assert seen.weight.sum(dim=1).tolist() == [2, 4, 3]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"num_keep": torch.tensor([0, 4, 3])}, "let at least one enter"),
        ({"num_keep": torch.tensor([2, 4, 3]), "num_predict": 9}, "predict at most those removed"),
        ({"num_keep": 4, "num_blank": torch.tensor([0, 7, 0])}, "leave blank"),
        ({"num_keep": 4, "num_blank": 7}, "and 7 left blank"),
    ],
)
def test_impossible_counts_are_refused(counts, words):
    with pytest.raises(UsageError, match=words):
        MaskPlan.from_scores(scores(10), grid=(2, 5), **counts)


def test_plans_of_streams_join_and_part():
    layout = Layout.of(STREAMS)
    parts = {
        "depth": MaskPlan.from_scores(scores(4), 1, (2, 2), weight=torch.rand(3, 4)),
        "rgb": MaskPlan.from_scores(scores(6), 2, (2, 3)),
    }
    plan = join_plans(parts, layout).validate()
    assert plan.num_keep == 3 and plan.mask.sum(dim=1).tolist() == [7, 7, 7]
    tokens = torch.rand(3, 1 + 3, 4)
    for name, own in parts.items():
        part = plan.only(name).validate()
        for field in ("ids_keep", "ids_predict", "mask"):
            assert getattr(part, field).equal(getattr(own, field))
        assert part.keep_valid is None
        found = tokens_of_stream(plan, name, tokens, 1)
        assert found[:, :1].equal(tokens[:, :1])
        assert found[:, 1:].equal(tokens[:, 1:3] if name == "rgb" else tokens[:, 3:])
    assert plan.only("depth").weight.equal(parts["depth"].weight)


def test_a_stream_of_a_common_draw_is_padded():
    layout = Layout.of(STREAMS)
    plan = MaskPlan.from_scores(scores(10, batch=16), 4, layout)
    part = plan.only("depth").validate()
    number = (~plan.mask[:, 6:]).sum(dim=1)
    assert len(number.unique()) > 1
    valid = part.keep_valid if part.keep_valid is not None else torch.ones_like(part.ids_keep, dtype=torch.bool)
    assert valid.sum(dim=1).equal(number) and part.weight.sum(dim=1).equal(4.0 - number)
    tokens = plan.keep(torch.arange(10.0).expand(16, -1)[..., None])
    found = tokens_of_stream(plan, "depth", tokens)[..., 0] - 6
    assert found[valid].equal(part.ids_keep[valid].float())


def test_padding_of_a_layout_is_neither_kept_nor_predicted():
    valid = torch.arange(10) < torch.tensor([[10], [6], [3]])
    entering = torch.tensor([5, 3, 1])
    ordered = scores_without_padding(scores(10), valid, entering)
    plan = MaskPlan.from_scores(ordered, entering, (10,), valid.sum(dim=1) - entering).validate()
    used = torch.zeros(3, 10).scatter_add(1, plan.ids_keep, plan.keep_valid.float())
    used = used.scatter_add(1, plan.ids_predict, plan.weight)
    assert used.equal(valid.float())


@pytest.mark.parametrize("keep", [4, torch.tensor([2, 4, 3])])
def test_a_plan_comes_back_from_a_file(keep, tmp_path):
    plan = MaskPlan.from_scores(scores(10), keep, STREAMS)
    torch.save(plan_to_dict(plan), tmp_path / "plan.pth")
    again = plan_from_dict(torch.load(tmp_path / "plan.pth", weights_only=True))
    assert again.layout.grids == STREAMS and again.ids_predict.equal(plan.ids_predict)
    part = part_of_plan(again, slice(1, 2))
    assert part.mask.equal(plan.mask[1:2]) and (part.weight is None) == (plan.weight is None)


def test_a_plan_of_an_older_file_has_a_grid():
    plan = MaskPlan.from_scores(scores(10), 4, (2, 5))
    names = ("ids_keep", "ids_predict", "ids_restore", "mask", "weight")
    again = plan_from_dict({"grid": [2, 5], **{name: getattr(plan, name) for name in names}})
    assert again.grid == (2, 5) and again.validate().mask.equal(plan.mask)


def test_groups_may_repeat_a_patch():
    plan = MaskPlan.from_scores(scores(10), 4, (2, 5))
    ids = torch.tensor([[1, 4, 8, 4, 5, 9]]).expand(3, -1)
    group = torch.tensor([[0, 0, 0, 1, 1, 1]]).expand(3, -1)
    parts = vars(plan) | {"ids_predict": ids, "group": group}
    MaskPlan(**parts).validate()
    with pytest.raises(ValueError, match="ascends without repeats"):
        MaskPlan(**parts | {"group": None}).validate()


def test_a_batch_of_which_nothing_is_removed_has_the_loss_0():
    plan = MaskPlan.from_scores(scores(10), torch.tensor([10, 10, 10]), (2, 5)).validate()
    errors = torch.rand(3, plan.ids_predict.shape[1], requires_grad=True)
    plan.average(errors).backward()
    assert plan.average(errors) == 0 and errors.grad.eq(0).all() and not plan.mask.any()


def test_cells_are_hidden_and_predicted_as_their_patches():
    weight = torch.arange(3 * 6.0).view(3, 6)
    plan = MaskPlan.from_scores(scores(6), 2, (2, 3), num_predict=3, weight=weight, num_blank=1)
    finer = plan_of_cells(plan, (2, 4)).validate()
    assert finer.grid == (4, 12) and finer.num_keep == 3 * 8
    for name, cells in (
        ("mask", finer.mask),
        ("weight", weight.new_zeros(3, 48).scatter(1, finer.ids_predict, finer.weight)),
    ):
        patches = plan.mask if name == "mask" else weight.new_zeros(3, 6).scatter(1, plan.ids_predict, plan.weight)
        picture = patches.unflatten(1, (2, 3)).repeat_interleave(2, 1).repeat_interleave(4, 2)
        assert cells.equal(picture.flatten(1)), name
    row, column = torch.unravel_index(finer.ids_keep.unflatten(1, (3, 8)), finer.grid)
    assert (row // 2 * 3 + column // 4).equal(plan.ids_keep[..., None].expand(-1, -1, 8))  # patch by patch
    assert finer.blank.unflatten(1, (3, 8)).equal(plan.blank[..., None].expand(-1, -1, 8))
    tokens = torch.arange(24.0).expand(3, 24)[..., None]
    assert finer.restore(tokens, torch.zeros(1, 1, 1)).gather(1, finer.ids_keep[..., None]).equal(tokens)
    assert plan_of_cells(plan, (1, 1)) is plan


def test_cells_of_padded_samples_and_groups():
    plan = MaskPlan.from_scores(scores(6), torch.tensor([1, 3, 2]), (2, 3))
    finer = plan_of_cells(plan, (2, 1)).validate()
    assert finer.keep_valid.sum(dim=1).tolist() == [2, 6, 4] and finer.weight.sum(dim=1).tolist() == [10, 6, 8]
    ids, group = torch.tensor([[0, 4, 1, 4]]), torch.tensor([[0, 0, 1, 1]])
    one = MaskPlan.from_scores(scores(6, 1), 1, (2, 3))
    grouped = plan_of_cells(replace(one, ids_predict=ids, group=group), (1, 2)).validate()
    assert grouped.ids_predict.tolist() == [[0, 1, 8, 9, 2, 3, 8, 9]]
    layout = Layout({"image": (2, 3)}, coords=torch.zeros(1, 6, 2))
    with pytest.raises(UsageError, match="coordinates or padding of its patches and says nothing about parts of them"):
        plan_of_cells(replace(one, layout=layout), (2, 2))
