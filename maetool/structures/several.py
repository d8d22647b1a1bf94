"""Plans of samples that differ in their numbers, of several streams, and of what is predicted."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops import device
from maetool.ops.patches import inverse_permutation, take_tokens

from .layout import Bounds, Layout
from .over_processes import may_lack
from .plan import MaskPlan


def plan_of_counts(
    scores: Tensor,
    layout: Layout,
    counts: Mapping[str, int | Tensor],
    weight: Tensor | None = None,
    bounds: Bounds | None = None,
) -> MaskPlan:
    """Return the plan of scores (B, L) whose counts may differ between samples; see `MaskPlan.from_scores`.

    Args:
        scores: (B, L), the smallest stay visible.
        layout: of the patches.
        counts: "keep", "predict" and "blank", each a number or int64 (B,).
        weight: (B, L).
        bounds: of the numbers; None reads them back from the device.

    Raises:
        UsageError: a sample of which nothing enters, or more predicted or blank patches than are removed; with bounds
            that is not checked on accelerators.
    """
    length = layout.length
    keep, predict, blank = (_per_sample(counts[name], scores) for name in ("keep", "predict", "blank"))  # each (B, 1)
    entering = keep + blank
    if bounds is None or device.reading_is_free(scores):
        bounds = _read_bounds(keep, predict, blank, length)
    # At least one, of weight 0 where no sample predicts any: such a batch has the loss 0.
    numbers = bounds.most, max(1, bounds.predicted)
    ids_shuffle = torch.argsort(scores, dim=1, stable=True)  # (B, L)
    ids_restore = inverse_permutation(ids_shuffle)
    place = torch.arange(length, device=scores.device)[None]  # (1, L)
    ids_predict, order = ids_shuffle[:, length - numbers[1] :].sort(dim=1)  # (B, M), each sample's own and padding
    asked = (place[:, length - numbers[1] :] >= length - predict).gather(1, order)  # bool (B, M)
    own = asked.float() if weight is None else weight.gather(1, ids_predict) * asked
    valid, seen = place[:, : numbers[0]] < entering, place[:, : numbers[0]] < keep
    return MaskPlan(
        layout=layout,
        ids_keep=ids_shuffle[:, : numbers[0]],
        ids_predict=ids_predict,
        ids_restore=ids_restore,
        mask=ids_restore >= keep,
        weight=own,
        blank=valid & ~seen if isinstance(counts["blank"], Tensor) or counts["blank"] else None,
        keep_valid=None if bounds.fewest == bounds.most else valid,
    )


def _read_bounds(keep: Tensor, predict: Tensor, blank: Tensor, length: int) -> Bounds:
    """Return the bounds of numbers (B, 1), which must make sense."""
    removed, entering = length - keep, keep + blank
    wrong = (entering < 1) | (keep < 0) | (removed < 0) | (predict < 0) | (predict > removed) | (blank < 0)
    if bool((wrong | (blank > removed)).any()):
        raise UsageError(
            f"The samples of a batch keep {keep.flatten().tolist()}, predict {predict.flatten().tolist()} and leave "
            f"blank {blank.flatten().tolist()} of {length} patches: let at least one enter, and predict at most those "
            "removed."
        )
    return Bounds(int(entering.min()), int(entering.max()), int(predict.max()))


def _per_sample(number: int | Tensor, scores: Tensor) -> Tensor:
    if not isinstance(number, Tensor):
        return torch.full((len(scores), 1), number, dtype=torch.int64, device=scores.device)
    return number.to(scores.device).expand(len(scores))[:, None]


def join_plans(plans: Mapping[str, MaskPlan], layout: Layout) -> MaskPlan:
    """Return the plan of several streams from a plan of each, in the order of the layout.

    Args:
        plans: name of each stream to its plan, in that stream's own indices.
        layout: of all streams.
    """
    starts = {name: place.start for name, place in layout.slices.items()}
    ordered = [(plans[name], starts[name]) for name in layout.grids]
    ids_keep = torch.cat([plan.ids_keep + start for plan, start in ordered], dim=1)
    parts = [plan for plan, _ in ordered]
    return MaskPlan(
        layout=layout,
        ids_keep=ids_keep,
        ids_predict=torch.cat([plan.ids_predict + start for plan, start in ordered], dim=1),
        ids_restore=_restore(ids_keep, layout.length),
        mask=torch.cat([plan.mask for plan in parts], dim=1),
        weight=_joined([plan.weight for plan in parts], [plan.ids_predict for plan in parts], 1.0),
        blank=_joined([plan.blank for plan in parts], [plan.ids_keep for plan in parts], False),
        keep_valid=_joined([plan.keep_valid for plan in parts], [plan.ids_keep for plan in parts], True),
        sizes=(
            {name: (plans[name].num_keep, plans[name].ids_predict.shape[1]) for name in layout.grids}
            if all(plan.keep_valid is None for plan in parts)
            else {}
        ),
    )


def _joined(values: list[Tensor | None], like: list[Tensor], default: float | bool) -> Tensor | None:
    """Return the values (B, N) of all parts in a row, those that a part lacks being `default`; None if all lack."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    filled = [
        torch.full_like(ids, default, dtype=present[0].dtype) if value is None else value
        for value, ids in zip(values, like, strict=True)
    ]
    return torch.cat(filled, dim=1)


def _restore(ids_keep: Tensor, length: int) -> Tensor:
    """Return where each of `length` patches stands in "those of ids_keep, then the others, ascending", (B, L)."""
    kept = torch.zeros(len(ids_keep), length, dtype=torch.bool, device=ids_keep.device).scatter_(1, ids_keep, True)
    number = ids_keep.shape[1]
    after = number + (~kept).cumsum(dim=1) - 1
    places = torch.arange(number, device=ids_keep.device).expand_as(ids_keep)
    return after.scatter(1, ids_keep, places)


def plan_of_stream(plan: MaskPlan, stream: str) -> MaskPlan:
    """Return the plan of one stream in that stream's own indices.

    Where samples have different numbers of its patches, shorter ones are padded: `keep_valid` is False and the weight 0
    there.

    Raises:
        UsageError: there is no such stream.
    """
    layout = plan.layout.only(stream)
    if len(plan.layout.grids) == 1:
        return plan
    place = plan.layout.slices[stream]
    known = plan.sizes.get(stream, (None, None))
    keep, kept = _own(plan.ids_keep, place, plan.keep_valid, known[0])
    repeats = plan.group is not None  # a patch may be in several groups
    predict, asked = _own(plan.ids_predict, place, None, known[1], repeats)
    ids_keep = _in_stream(plan.ids_keep.gather(1, keep), place, kept)
    ids_predict = _in_stream(plan.ids_predict.gather(1, predict), place, asked)
    weight = None if plan.weight is None else plan.weight.gather(1, predict)
    group = None if plan.group is None else plan.group.gather(1, predict)
    if known[1] is None and may_lack(asked, together=True):
        weight = asked.float() if weight is None else weight * asked
        order = (ids_predict if group is None else ids_predict + layout.length * group).argsort(dim=1)
        ids_predict, weight = ids_predict.gather(1, order), weight.gather(1, order)
        group = None if group is None else group.gather(1, order)
    return replace(
        plan,
        layout=layout,
        ids_keep=ids_keep,
        ids_predict=ids_predict,
        ids_restore=_restore(ids_keep, layout.length),
        mask=plan.mask[:, place],
        weight=weight,
        blank=None if plan.blank is None else plan.blank.gather(1, keep) & kept,
        keep_valid=kept if known[0] is None and may_lack(kept) else None,
        group=group,
        sizes={},
    )


def _own(
    ids: Tensor, place: slice, valid: Tensor | None, number: int | None, repeats: bool = False
) -> tuple[Tensor, Tensor]:
    """Return which columns of ids (B, N) lie in a stream, (B, n) in their order, and which of these do, bool (B, n).

    `number` is n if it is known; otherwise it is read on a CPU, and on an accelerator as large as it may be.
    """
    inside = (ids >= place.start) & (ids < place.stop)
    if valid is not None:
        inside = inside & valid
    if number is None:
        most = ids.shape[1] if repeats else min(ids.shape[1], place.stop - place.start)
        number = int(inside.sum(dim=1).max()) if device.reading_is_free(ids) else most
    columns = torch.argsort(~inside, dim=1, stable=True, descending=False)[:, :number]
    return columns, inside.gather(1, columns)


def _in_stream(ids: Tensor, place: slice, own: Tensor) -> Tensor:
    """Return the ids (B, n) in the stream's own indices; padding takes patches that are not among them, once each."""
    length = place.stop - place.start
    inside = (ids - place.start).clamp(0, length - 1)
    taken = torch.zeros(len(ids), length, dtype=torch.int64, device=ids.device).scatter_add_(1, inside, own.long())
    spare = torch.argsort(taken, dim=1, stable=True)[:, : ids.shape[1]]  # patches that are not taken come first
    number = (~own).cumsum(dim=1) - 1  # which of the spare ones a padded column takes
    return torch.where(own, inside, spare.gather(1, number.clamp(0, spare.shape[1] - 1)))


def plan_of_predicted(plan: MaskPlan) -> MaskPlan:
    """Return the plan in which the patches to predict are the visible ones, in their order; all others are removed.

    Predictions of weight 0 are padding there, see `keep_valid`, unless a sample has no others.

    Raises:
        UsageError: groups, of which a patch may be in several.
    """
    if plan.group is not None:
        raise UsageError(
            "The plan has groups that are predicted separately, so that its patches to predict are no single set: use "
            "a masker without groups."
        )
    ids = plan.ids_predict
    asked = torch.ones_like(ids, dtype=torch.bool) if plan.weight is None else plan.weight > 0
    asked = asked | ~asked.any(dim=1, keepdim=True)
    return replace(
        plan,
        ids_keep=ids,
        ids_restore=_restore(ids, plan.layout.length),
        mask=torch.ones_like(plan.mask).scatter(1, ids, ~asked),
        blank=None,
        keep_valid=None if plan.weight is None else asked,
    )


def tokens_of_stream(plan: MaskPlan, stream: str, tokens: Tensor, num_prefix_tokens: int = 0) -> Tensor:
    """Return the prefix and the tokens of one stream, in the order of `plan_of_stream`, of tokens (B, T + V, D).

    Args:
        plan: of all streams.
        stream: its name.
        tokens: T prefix tokens, then those of `plan.ids_keep`.
        num_prefix_tokens: T.
    """
    number, _ = plan.sizes.get(stream, (None, None))
    columns, _ = _own(plan.ids_keep, plan.layout.slices[stream], plan.keep_valid, number)
    prefix = torch.arange(num_prefix_tokens, device=tokens.device).expand(len(columns), -1)
    return take_tokens(tokens, torch.cat([prefix, columns + num_prefix_tokens], dim=1))


def scores_without_padding(scores: Tensor, valid: Tensor, entering: Tensor) -> Tensor:
    """Return scores (B, L) by which padding is neither kept nor predicted.

    The `entering` patches of smallest score stay first, the other patches last, and padding goes between them.

    Args:
        scores: (B, L).
        valid: bool (B, L), False = padding.
        entering: int64 (B,), how many patches of each sample enter the encoder.
    """
    length = scores.shape[1]
    order = scores.masked_fill(~valid, float("inf")).argsort(dim=1, stable=True)
    rank = inverse_permutation(order)
    late = torch.where(rank < entering[:, None], rank, rank + 2 * length)
    return torch.where(valid, late, length).float()
