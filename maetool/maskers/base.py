"""What every masker shares: from scores, or from a given mask, to a plan."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.geometry import count_kept
from maetool.ops.masking import to_grid
from maetool.ops.random import KeyedRandom, mix
from maetool.structures import Bounds, Layout, MaskPlan, join_plans, scores_without_padding, tensors_of

_MOST_IN_DEBUG = 0.9


class Masker(nn.Module):
    """Base of the maskers; a subclass usually writes `scores` and nothing else.

    A masker that needs more than a grid names it in `needs`, and `scores` gets it as an argument of that name:
    "images"; "tokens" (B, L, D), the encoder's embedding of every patch before positions, with gradient; what a teacher
    gives, such as "attention"; or whatever the model has an advisor for.

    A masker that learns has a method `loss(plan, errors)`, which returns a scalar from the errors (B, M), without
    gradient, of the predicted patches; `plan.aux` holds what the masker put there. The model adds it to its loss.

    Args:
        mask_ratio: share of the patches that is removed, in (0, 1).
        predict_ratio: share of the patches that is predicted, in (0, mask_ratio]; by default all that are removed.
            Of the removed those of largest score are chosen. Source: CrossMAE (its `kept_mask_ratio`).

    Attributes:
        needs: what `scores` asks for beside the random numbers and the grid.
        unit: patches that are hidden together along each axis; encoders whose tokens cover several patches ask for it.
        progress: how much of training is over, in [0, 1]; the training loop tells it, schedules read it.
        takes_padding: whether samples may differ in length, see `Layout.valid`: each is then masked as `counts_of` its
            own length says, and padding is neither visible nor predicted. Others refuse them.

    Raises:
        UsageError: ratios that make no sense.
    """

    needs: tuple[str, ...] = ()
    unit: int | Sequence[int] = 1
    takes_padding = True

    def __init__(self, mask_ratio: float = 0.75, predict_ratio: float | None = None) -> None:
        super().__init__()
        count_kept(10**6, mask_ratio)  # raises early; the grid is not known yet
        if predict_ratio is not None and not 0 < predict_ratio <= mask_ratio:
            raise UsageError(
                f"predict_ratio is {predict_ratio!r}, but must be above 0 and at most mask_ratio={mask_ratio}: "
                "only removed patches are predicted."
            )
        self.mask_ratio, self.predict_ratio = mask_ratio, predict_ratio
        self.progress = 0.0

    def forward(
        self,
        images: Any,
        grid: Layout | Mapping[str, Sequence[int]] | Sequence[int],
        given: Any = None,
        keys: Tensor | None = None,
        weight: Any = None,
        clues: Mapping[str, Any] | None = None,
    ) -> MaskPlan:
        """Return the plan of a batch.

        Args:
            images: (B, C, *size), or a mapping from streams to tensors; most maskers only look at their number and
                device.
            grid: patches along each axis, or the layout of several streams.
            given: a mask, 1 = removed, that wins over the masker's own choice: (B, L), (B, *grid) or, in pixels,
                (B, *size), where a patch is removed as soon as one of its pixels is; of several streams a mapping.
            keys: int64 (B,), the key of each sample: equal keys, equal plans, whatever batch, process or device they
                come in. Without keys they are drawn from torch's default generator.
            weight: how much each patch counts in the loss, in the shapes of `given`; of pixels the mean is taken. Give
                0 to regions without data and to padding.
            clues: name to what a masker needs beside the grid, see `needs`.

        Raises:
            UsageError: the ratio leaves no patch visible, a given mask or weight does not fit, a clue is missing, or
                samples differ in length and the masker does not take that.
        """
        layout, like = Layout.of(grid), tensors_of(images)[0]
        weight = None if weight is None else _over_streams(weight, layout, "weight")
        if given is not None:
            mask = _over_streams(given, layout, "mask")  # where it lies: its counts are read there, on a host for free
            own = None if weight is None else weight.to(mask.device)
            return _plan_of_given(mask, layout, own).to(like.device)
        if layout.valid is not None and not self.takes_padding:
            raise UsageError(
                f"{type(self).__name__}, as set, masks whole grids, but the samples of the batch differ in length: "
                "use RandomMasker, or VariableMasker without drop_ratio."
            )
        weight = None if weight is None else weight.to(like.device, non_blocking=True)
        if keys is None:
            keys = torch.randint(2**62, (len(like),))
        asked = {name: self._clue(name, images, clues or {}) for name in self.needs}
        return self.plan(KeyedRandom(keys.to(like.device, non_blocking=True)), layout, weight, **asked)

    def plan(self, rng: KeyedRandom, layout: Layout, weight: Tensor | None = None, **clues: Any) -> MaskPlan:
        """Return the plan of a batch of `len(rng)` samples: of several streams, each has a plan of its own.

        Written by maskers whose plans are not made of scores of one grid; see `scores`.

        Args:
            rng: random numbers of each sample.
            layout: of the patches.
            weight: (B, L), of the patches in the loss.
            clues: what the masker needs.
        """
        if len(layout.grids) > 1:
            parts = {}
            for i, (name, place) in enumerate(layout.slices.items()):
                own = None if weight is None else weight[:, place]
                asked = {clue: _of_stream(value, name, place, layout.length) for clue, value in clues.items()}
                parts[name] = self.plan(KeyedRandom(mix(rng.keys, i)), layout.only(name), own, **asked)
            return join_plans(parts, layout)
        lengths = None if layout.valid is None else layout.valid.sum(dim=1)
        counts = self.counts(rng, layout.grid) if lengths is None else self.counts_of(rng, lengths, layout.length)
        scores = self.scores(rng, layout.grid, **clues)
        if layout.valid is not None:
            scores = scores_without_padding(scores, layout.valid, counts["num_keep"])
        return MaskPlan.from_scores(scores, grid=layout, weight=weight, **counts)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, float]:
        """Return the arguments of the small form for `--debug`, whose grids are small: one patch stays visible."""
        ratios = {name: arguments.get(name) for name in ("mask_ratio", "predict_ratio")}
        return {name: _MOST_IN_DEBUG for name, ratio in ratios.items() if ratio is not None and ratio > _MOST_IN_DEBUG}

    def counts(self, rng: KeyedRandom, grid: tuple[int, ...]) -> dict[str, Any]:
        """Return how many patches are visible, predicted and blank, as arguments of `MaskPlan.from_scores`.

        Args:
            rng: random numbers of each of the B samples.
            grid: patches along each axis.

        Returns:
            `num_keep`, `num_predict` and, where places are left blank, `num_blank`: numbers, or int64 (B,); then also
            `bounds`, which lets an accelerator go on without a wait, see `maetool.structures.Bounds`.
        """
        return {"num_keep": self.num_keep(grid), "num_predict": self.num_predict(grid)}

    def counts_of(self, rng: KeyedRandom, length: Tensor, longest: int) -> dict[str, Any]:
        """Return what `counts` does, of samples that differ in length.

        Args:
            rng: random numbers of each of the B samples.
            length: int64 (B,), the patches of each sample.
            longest: which no length exceeds.
        """
        keep = (length * (1 - self.mask_ratio) + 1e-6).long().clamp(min=1)
        hidden = self.mask_ratio - (self.predict_ratio or self.mask_ratio)
        predict = length - keep - (length * hidden + 1e-6).long()
        # Both numbers that are subtracted from the length may be rounded by almost 1.
        most = max(1, int(longest * (1 - self.mask_ratio) + 1e-6)), int(longest * (self.mask_ratio - hidden)) + 2
        return {"num_keep": keep, "num_predict": predict, "bounds": Bounds(1, most[0], min(longest, most[1]))}

    def set_ratio(self, mask_ratio: float) -> None:
        """Remove another share of the patches from now on; a schedule calls it.

        Args:
            mask_ratio: the share, in (0, 1).

        Raises:
            UsageError: the masker has no ratio that could change.
        """
        self.mask_ratio = mask_ratio

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return how many patches of a grid stay visible.

        Raises:
            UsageError: none would, or all would.
        """
        return count_kept(prod(grid), self.mask_ratio)

    def num_predict(self, grid: Sequence[int]) -> int | None:
        """Return how many patches of a grid are predicted; None is all that are removed."""
        if self.predict_ratio is None:
            return None
        hidden = self.mask_ratio - self.predict_ratio
        return prod(grid) - self.num_keep(grid) - int(prod(grid) * hidden + 1e-6)

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return the scores (B, L) of a batch; the patches of smallest score stay visible.

        What `needs` names comes as further arguments of those names.

        Args:
            rng: random numbers of each of the B = `len(rng)` samples.
            grid: patches along each axis; L is their product.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it hides: write `scores`.")

    def _clue(self, name: str, images: Any, clues: Mapping[str, Any]) -> Any:
        if name == "images":
            return images
        if name not in clues:
            raise UsageError(
                f"{type(self).__name__} needs `{name}`, but the model has advisors for "
                f"{', '.join(clues) or 'nothing'}: add model.advisors.{name}, which gives one number a patch, or a "
                "model.teacher that gives it."
            )
        return clues[name]


def _plan_of_given(mask: Tensor, layout: Layout, weight: Tensor | None) -> MaskPlan:
    """Return the plan of a given mask (B, L), 1 = removed; padding is neither visible nor predicted."""
    if layout.valid is None:
        return MaskPlan.from_mask(mask, layout, weight)
    valid = layout.valid.to(mask.device)
    removed = mask.bool() & valid
    keep = (valid & ~removed).sum(dim=1)
    scores = scores_without_padding(removed.float(), valid, keep)
    return MaskPlan.from_scores(scores, keep, layout, removed.sum(dim=1), weight)


def _over_streams(values: Any, layout: Layout, name: str) -> Tensor:
    """Return a mask or a weight of all streams, float (B, L), in the shapes that `Masker.forward` takes."""
    pool: Any = "any" if name == "mask" else "mean"
    if not isinstance(values, Mapping):
        grid = layout.grid if len(layout.grids) == 1 else (layout.length,)
        return to_grid(values.float(), grid, name, pool).flatten(1)
    if set(values) != set(layout.grids):
        raise UsageError(
            f"The {name} is given for {', '.join(values)}, but the streams are {', '.join(layout.grids)}: give one for "
            "each."
        )
    parts = [to_grid(values[one].float(), grid, name, pool) for one, grid in layout.grids.items()]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def _of_stream(clue: Any, stream: str, place: slice, length: int) -> Any:
    """Return what a clue says about one stream: an entry of a mapping, or the rows of a tensor (B, L, ...)."""
    if isinstance(clue, Mapping):
        return clue[stream]
    return clue[:, place] if isinstance(clue, Tensor) and clue.ndim > 1 and clue.shape[1] == length else clue
