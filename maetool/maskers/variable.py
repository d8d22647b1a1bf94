"""Maskers whose ratio is drawn."""

from collections.abc import Sequence
from math import ceil, floor, prod
from typing import Any, Literal

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.prefix import has_class_token
from maetool.ops.random import KeyedRandom, weighted_order
from maetool.registry import MASKERS
from maetool.structures import Bounds, Layout, MaskPlan

from .base import Masker


@MASKERS.register_module()
class VariableMasker(Masker):
    """Removes patches at random, at a ratio that is drawn too.

    Samples that keep different numbers of patches are padded, for an encoder that takes it; with `drop_ratio` all
    samples enter alike. Source: MAGE (LTH14/mage, `models_mage.py`: 0.5 to 1, mean 0.55, deviation 0.25, `drop_ratio`
    0.5).

    Args:
        ratios: range of the share of the patches that is removed, uniform, or with `mean` and `deviation` the normal
            distribution cut to the range.
        mean, deviation: of the normal distribution before it is cut.
        drop_ratio: share of the patches that is dropped; what is removed beyond it enters the encoder as mask tokens.
            None drops all that is removed.
        per: each "sample" draws its ratio, or the "batch" has that of its first sample.
        unmasked: share of the samples of which nothing is removed (iBOT, AttMask: 0.5).
        round_up: round the number of removed patches up (MAGE), or down.

    Raises:
        UsageError: ratios that make no sense.
    """

    def __init__(
        self,
        ratios: Sequence[float] = (0.5, 1.0),
        mean: float | None = None,
        deviation: float | None = None,
        drop_ratio: float | None = None,
        per: Literal["sample", "batch"] = "sample",
        unmasked: float = 0.0,
        round_up: bool = False,
    ) -> None:
        _check(ratios, mean, deviation, drop_ratio, per, unmasked)
        low, high = ratios
        super().__init__(min((low + high) / 2 if mean is None else mean, 0.999))
        self.low, self.high, self.mean, self.deviation = low, high, mean, deviation
        self.drop_ratio, self.per, self.unmasked, self.round_up = drop_ratio, per, unmasked, round_up
        self.takes_padding = self.takes_padding and drop_ratio is None  # with it all samples enter alike
        if mean is not None and deviation is not None:  # the distribution function at both ends of the range
            ends = torch.tensor([low, high], dtype=torch.float64, device="cpu")
            self._ends = tuple(torch.special.ndtr((ends - mean) / deviation).tolist())

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return how many patches stay visible at the middle ratio, at least one."""
        return max(1, min(prod(grid) - 1, round(prod(grid) * (1 - self.mask_ratio))))

    def draw_ratio(self, rng: KeyedRandom) -> Tensor:
        """Return the ratio of each sample, float64 (B,), from the random numbers `rng` of the samples."""
        share = rng.uniform(1)[:, 0].double()
        share = share[:1].expand_as(share) if self.per == "batch" else share
        if self.mean is None or self.deviation is None:
            return self.low + (self.high - self.low) * share
        below, above = self._ends
        ratio = self.mean + self.deviation * torch.special.ndtri(below + (above - below) * share)
        return ratio.clamp(self.low, self.high)

    def removed(self, ratio: Any, length: Any) -> Any:
        """Return how many of `length` patches are removed at a ratio; int64 (B,) where either of both is (B,)."""
        number = ratio * length
        if not isinstance(number, Tensor):
            return ceil(number - 1e-6) if self.round_up else floor(number + 1e-6)
        return (number - 1e-6).ceil().long() if self.round_up else (number + 1e-6).floor().long()

    def drawn(self, rng: KeyedRandom, length: int | Tensor) -> tuple[Tensor, Tensor]:
        """Draw how much of each sample is masked.

        Args:
            rng: random numbers of each of the B samples.
            length: L, patches of a sample, or of each sample (B,).

        Returns:
            The ratio, float64 (B,), 0 of an unmasked sample, and the number of patches that are removed, int64 (B,).
        """
        ratio = self.draw_ratio(rng)
        if self.unmasked:
            ratio = torch.where(rng.uniform(1)[:, 0] < self.unmasked, 0.0, ratio)
        return ratio, self.removed(ratio, length)

    def counts(self, rng: KeyedRandom, grid: tuple[int, ...]) -> dict[str, Any]:
        """Return the drawn counts, int64 (B,)."""
        length = prod(grid)
        _, removed = self.drawn(rng, length)
        if self.drop_ratio is None:
            removed = removed.clamp(max=length - 1)
            return {"num_keep": length - removed, "num_predict": removed, "bounds": self.bounds(length)}
        dropped = self.removed(self.drop_ratio, length)
        bounds = Bounds(length - dropped, length - dropped, self.removed(self.high, length))
        return {"num_keep": length - removed, "num_predict": removed, "num_blank": removed - dropped, "bounds": bounds}

    def counts_of(self, rng: KeyedRandom, length: Tensor, longest: int) -> dict[str, Any]:
        """Return the drawn counts of samples that differ in length; see `Masker.counts_of`.

        Args:
            rng, length, longest: as there.
        """
        removed = torch.minimum(self.drawn(rng, length)[1], length - 1)
        bounds = self.bounds(longest)._replace(fewest=1)
        return {"num_keep": length - removed, "num_predict": removed, "bounds": bounds}

    def bounds(self, length: int) -> Bounds:
        """Return between which numbers the visible and the predicted of `length` patches lie; see `Bounds`."""
        least, most = 0 if self.unmasked else self.removed(self.low, length), self.removed(self.high, length)
        return Bounds(max(1, length - most), length - min(least, length - 1), min(most, length - 1))

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return numbers in random order (B, L)."""
        return rng.order(prod(grid))


def _check(
    ratios: Sequence[float],
    mean: float | None,
    deviation: float | None,
    drop_ratio: float | None,
    per: str,
    unmasked: float,
) -> None:
    if len(ratios) != 2 or not 0 < ratios[0] <= ratios[1] <= 1:
        raise UsageError(f"ratios is {ratios!r}, but must be a range (low, high) of shares above 0 and at most 1.")
    if (mean is None) != (deviation is None) or (deviation is not None and not deviation > 0):
        raise UsageError(
            f"mean is {mean!r} and deviation {deviation!r}, but must be given together, with a positive deviation."
        )
    if drop_ratio is not None and not 0 < drop_ratio <= ratios[0]:
        raise UsageError(
            f"drop_ratio is {drop_ratio!r}, but must be above 0 and at most {ratios[0]}, the smallest ratio: only "
            "removed patches are dropped."
        )
    if drop_ratio is not None and unmasked:
        raise UsageError("unmasked samples drop nothing: leave out drop_ratio, or set unmasked=0.")
    if drop_ratio is None and ratios[1] == 1:
        raise UsageError("A ratio of 1 leaves nothing visible: use a smaller one, or set drop_ratio.")
    if per not in ("sample", "batch"):
        raise UsageError(f'per is {per!r}, but must be "sample" or "batch".')
    if not 0 <= unmasked < 1:
        raise UsageError(f"unmasked is {unmasked!r}, but must be at least 0 and below 1.")


@MASKERS.register_module()
class AttentionMasker(VariableMasker):
    """Removes the patches that a teacher's class token attends to most, so that the task is harder.

    Or those that it attends to least. Source: AttMask (gkakogeorgiou/attmask, `attmask.py`); for "draw" MaskAlign
    (OpenDriveLab/maskalign, `models_pretrain.py`), for "low" MR-MAE.

    Args:
        ratios, unmasked, per, round_up: see `VariableMasker`.
        choose: "high", the most attended; "low", the least; "hint", the most attended but for some of the very highest;
            "draw", what is left when the visible patches have been drawn one after the other, each with a probability
            in proportion to the attention.
        hint: for "hint", the share of the patches, from the most attended on, of which a part as large as the ratio is
            shown again.
        model_teacher: the model's teacher; the model hands it over.

    Raises:
        UsageError: an unknown choice or hint, a teacher without a class token, or ratios that make no sense.
    """

    needs = ("attention",)
    takes_padding = False

    def __init__(
        self,
        ratios: Sequence[float] = (0.1, 0.5),
        unmasked: float = 0.5,
        per: Literal["sample", "batch"] = "batch",
        choose: Literal["high", "low", "hint", "draw"] = "hint",
        hint: float = 0.1,
        round_up: bool = False,
        model_teacher: Any = None,
    ) -> None:
        super().__init__(ratios, per=per, unmasked=unmasked, round_up=round_up)
        if choose not in ("high", "low", "hint", "draw") or not 0 < hint <= ratios[0]:
            raise UsageError(
                f'choose is {choose!r} and hint {hint!r}, but must be "high", "low", "hint" or "draw", and above 0 and '
                f"at most {ratios[0]}, the smallest ratio."
            )
        encoder = getattr(model_teacher, "encoder", None)
        if encoder is not None and not has_class_token(encoder):
            raise UsageError(
                f"AttentionMasker looks where the teacher's class token looks, but {type(encoder).__name__} has none: "
                "give the teacher an encoder with class_token=True, or use another masker."
            )
        self.choose, self.hint = choose, hint

    def plan(self, rng: KeyedRandom, layout: Layout, weight: Tensor | None = None, **clues: Any) -> MaskPlan:
        """Return the plan of the teacher's `attention` (B, heads, T + L, T + L), the class token being the first."""
        length = layout.length
        attention = clues["attention"][:, :, 0, -length:].mean(dim=1)  # (B, L)
        ratio, removed = self.drawn(rng, length)
        if self.choose == "draw":
            scores = weighted_order(rng, attention.double().clamp(min=torch.finfo(torch.float32).tiny).log())
            return self._planned(scores, removed, layout, weight)
        rank = attention.argsort(dim=1).argsort(dim=1)  # (B, L), the most attended have the highest
        if self.choose == "low":
            rank = length - 1 - rank
        if self.choose == "hint":
            shown = (self.hint * length * ratio + 1e-6).long()
            highest = rank >= length - int(self.hint * length + 1e-6)
            lot = torch.where(highest, rng.order(length), 2.0).argsort(dim=1).argsort(dim=1)
            rank, removed = torch.where(lot < shown[:, None], -1, rank), removed - shown
        return self._planned(rank.float(), removed, layout, weight)

    def _planned(self, scores: Tensor, removed: Tensor, layout: Layout, weight: Tensor | None) -> MaskPlan:
        """Return the plan of scores (B, L), of which `removed` (B,) are removed and predicted."""
        length, bounds = layout.length, self.bounds(layout.length)
        number = bounds.predicted if bounds.fewest == bounds.most else removed
        return MaskPlan.from_scores(scores, length - number, layout, number, weight, bounds=bounds)

    def bounds(self, length: int) -> Bounds:
        """Return the bounds of `VariableMasker`, with the most that "hint" shows again."""
        bounds = super().bounds(length)
        shown = int(self.hint * length * self.high + 1e-6) if self.choose == "hint" else 0
        return bounds._replace(most=min(length, bounds.most + shown))

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...], **clues: Any) -> Tensor:
        """Refuse: the plan is not made of scores alone."""
        raise NotImplementedError("AttentionMasker makes plans; see `plan`.")
