"""Maskers made of other maskers, and the one that only takes masks that are given."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import cos, pi, prod
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.random import KeyedRandom, mix
from maetool.registry import MASKERS

from .base import Masker
from .reduced import inner_masker


@MASKERS.register_module()
class GivenMasker(Masker):
    """Takes the masks that travel with the batch, at the resolution of patches or of pixels, and makes none."""

    unit = 0  # whatever is given, so that it fits every encoder

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Refuse.

        Raises:
            UsageError: the batch has no masks.
        """
        raise UsageError(
            "GivenMasker needs a `mask` in every batch, but there is none: let the dataset return one, "
            "or choose another masker."
        )


def _build(maskers: Sequence[Any]) -> Sequence[Masker]:
    if not maskers:
        raise UsageError("A masker of several maskers got an empty list: name at least one.")
    # A ModuleList is a sequence of what is put into it, but torch declares its members as modules only.
    return cast(Sequence[Masker], nn.ModuleList(inner_masker(masker, "a masker of several") for masker in maskers))


def _needs(maskers: Sequence[Masker]) -> tuple[str, ...]:
    return tuple(sorted({name for masker in maskers for name in masker.needs}))


def _check_predicted(predict_ratio: float | None, maskers: Sequence[Masker]) -> None:
    """Check that one ratio says how much is predicted."""
    own = [masker.predict_ratio for masker in maskers if masker.predict_ratio is not None]
    if predict_ratio is not None and own:
        raise UsageError(
            f"predict_ratio is {predict_ratio} of a masker of several, and {own[0]} of one of these: leave out one."
        )


def _ask(masker: Masker, rng: KeyedRandom, grid: tuple[int, ...], asked: dict[str, Tensor]) -> Tensor:
    return masker.scores(rng, grid, **{name: asked[name] for name in masker.needs})


@MASKERS.register_module()
class MixedMasker(Masker):
    """Each sample, or each batch, takes one of several maskers by chance.

    Args:
        maskers: configs or modules, which must keep equal numbers of patches.
        probabilities: of each masker; equal by default. They are divided by their sum.
        per: "sample", or "batch": all samples take the masker that the first one draws.
        predict_ratio: see `Masker`.

    Raises:
        UsageError: no maskers, or probabilities that do not fit.
    """

    part_registries = {"maskers": MASKERS}

    bounds: Tensor

    def __init__(
        self,
        maskers: Sequence[Any],
        probabilities: Sequence[float] | None = None,
        per: Literal["sample", "batch"] = "sample",
        predict_ratio: float | None = None,
    ) -> None:
        built = _build(maskers)
        super().__init__(built[0].mask_ratio, predict_ratio)
        chances = list(probabilities or [1.0] * len(built))
        if len(chances) != len(built) or min(chances) < 0 or sum(chances) <= 0:
            raise UsageError(
                f"The probabilities are {chances} for {len(built)} maskers: give one of at least 0 for each."
            )
        if per not in ("sample", "batch"):
            raise UsageError(f'per is {per!r}, but must be "sample" or "batch".')
        _check_predicted(predict_ratio, built)
        self.maskers, self.per, self.needs = built, per, _needs(built)
        # Samples of other lengths keep other numbers, which are those of all maskers if the ratios are.
        ratios = {(masker.mask_ratio, masker.predict_ratio) for masker in built}
        self.takes_padding = len(ratios) == 1 and all(masker.takes_padding for masker in built)
        self.register_buffer("bounds", torch.tensor(chances).cumsum(0) / sum(chances), persistent=False)

    def set_ratio(self, mask_ratio: float) -> None:
        """Let all of the maskers remove another share; see `Masker.set_ratio`."""
        super().set_ratio(mask_ratio)
        for masker in self.maskers:
            masker.set_ratio(mask_ratio)

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return the number that all of the maskers keep.

        Raises:
            UsageError: they keep different numbers.
        """
        return _agreed("keep", [masker.num_keep(grid) for masker in self.maskers])

    def num_predict(self, grid: Sequence[int]) -> int | None:
        """Return the number that all of the maskers predict; None is all that are removed.

        Raises:
            UsageError: they predict different numbers.
        """
        if self.predict_ratio is not None:
            return super().num_predict(grid)
        numbers = [masker.num_predict(grid) for masker in self.maskers]
        return None if set(numbers) == {None} else _agreed("predict", [_predicted(m, grid) for m in self.maskers])

    def counts_of(self, rng: KeyedRandom, length: Tensor, longest: int) -> dict[str, Any]:
        """Return what `counts` does, of samples that differ in length; `rng`, `length` and `longest` as in `Masker`."""
        if self.predict_ratio is None:
            return self.maskers[0].counts_of(rng, length, longest)
        return super().counts_of(rng, length, longest)

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...], **asked: Tensor) -> Tensor:
        """Return the scores (B, L) of the masker that each sample takes."""
        draw = rng.uniform(1)  # (B, 1)
        draw = draw[:1].expand_as(draw) if self.per == "batch" else draw
        chosen = torch.bucketize(draw.contiguous(), self.bounds.to(rng.device), right=True).clamp(
            max=len(self.maskers) - 1
        )
        scores = [
            _ask(masker, KeyedRandom(mix(rng.keys, i)), grid, asked).float() for i, masker in enumerate(self.maskers)
        ]
        return torch.stack(scores).gather(0, chosen[None].expand(1, -1, scores[0].shape[1]))[0]


def _predicted(masker: Masker, grid: Sequence[int]) -> int:
    number = masker.num_predict(grid)
    return prod(grid) - masker.num_keep(grid) if number is None else number


def _agreed(verb: str, counts: Sequence[int]) -> int:
    if len(set(counts)) > 1:
        raise UsageError(
            f"The maskers of MixedMasker {verb} different numbers of patches "
            f"({', '.join(map(str, sorted(set(counts))))}): give them ratios that {verb} equal numbers."
        )
    return counts[0]


@MASKERS.register_module()
class ScheduledMasker(Masker):
    """Changes the masker, its ratio, or both over the course of training.

    What it does is a function of `progress` alone, so a resumed run goes on exactly. Outside of training it is what it
    will be at the end, so that validation always sees the same masks.

    Args:
        maskers: configs or modules, in the order in which they take over.
        starts: share of training, in [0, 1), at which each takes over; the first is 0. Equal parts by default.
        mask_ratios: two or more ratios that it passes, the first at the beginning and the last at the end; by default
            each masker's own.
        ratio_at: share of training, ascending from 0 to 1, at which each ratio is reached; evenly spaced by default.
            Equal neighbours hold a ratio.
        curve: from one ratio to the next, "linear", or "cosine", half a wave, slow at both ends (LMD).
        predict_ratio: see `Masker`.

    Raises:
        UsageError: no maskers, starts that do not ascend from 0, ratios that make no sense or that a masker cannot
            take, or an unknown curve.
    """

    part_registries = {"maskers": MASKERS}

    def __init__(
        self,
        maskers: Sequence[Any],
        starts: Sequence[float] | None = None,
        mask_ratios: Sequence[float] | None = None,
        ratio_at: Sequence[float] | None = None,
        curve: Literal["linear", "cosine"] = "linear",
        predict_ratio: float | None = None,
    ) -> None:
        built = _build(maskers)
        starts = list(starts or [i / len(built) for i in range(len(built))])
        ascending = all(early < late for early, late in pairwise([*starts, 1.0]))
        if len(starts) != len(built) or starts[0] != 0 or not ascending:
            raise UsageError(
                f"starts are {starts} for {len(built)} maskers: give one for each, ascending from 0 to below 1."
            )
        self.ratio_at = _check_ratios(mask_ratios, ratio_at, curve)
        _check_predicted(predict_ratio, built)
        for ratio in mask_ratios or ():
            Masker(ratio, predict_ratio)  # raises for a ratio that makes no sense
            for masker in built:
                masker.set_ratio(ratio)  # raises where it has none
        super().__init__(mask_ratios[-1] if mask_ratios else built[-1].mask_ratio, predict_ratio)
        self.maskers, self.starts, self.mask_ratios, self.curve = built, starts, mask_ratios, curve
        self.needs, self.takes_padding = _needs(built), all(masker.takes_padding for masker in built)

    def set_ratio(self, mask_ratio: float) -> None:
        """Let all of the maskers remove another share; see `Masker.set_ratio`.

        Args:
            mask_ratio: the share.

        Raises:
            UsageError: it has a schedule of its own.
        """
        if self.mask_ratios:
            raise UsageError(
                f"A schedule of ratios stands in another one, whose mask_ratios are {list(self.mask_ratios)}: leave "
                "out one of the two."
            )
        super().set_ratio(mask_ratio)
        for masker in self.maskers:
            masker.set_ratio(mask_ratio)

    @property
    def current(self) -> Masker:
        """The masker at this moment of training, with the ratio of this moment."""
        progress = self.progress if self.training else 1.0
        masker = self.maskers[bisect_right(self.starts, progress) - 1]
        if self.mask_ratios:
            masker.set_ratio(_ratio(progress, self.mask_ratios, self.ratio_at, self.curve))
        return masker

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return how many patches stay visible at this moment."""
        return self.current.num_keep(grid)

    def num_predict(self, grid: Sequence[int]) -> int | None:
        """Return how many patches are predicted at this moment; None is all that are removed."""
        current = self.current
        self.mask_ratio = current.mask_ratio
        return current.num_predict(grid) if self.predict_ratio is None else super().num_predict(grid)

    def counts_of(self, rng: KeyedRandom, length: Tensor, longest: int) -> dict[str, Any]:
        """Return what `counts` does, of samples that differ in length; `rng`, `length` and `longest` as in `Masker`."""
        current = self.current
        self.mask_ratio = current.mask_ratio
        return (
            current.counts_of(rng, length, longest)
            if self.predict_ratio is None
            else super().counts_of(rng, length, longest)
        )

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...], **asked: Tensor) -> Tensor:
        """Return the scores (B, L) of the masker of this moment."""
        return _ask(self.current, rng, grid, asked)


def _check_ratios(ratios: Sequence[float] | None, ratio_at: Sequence[float] | None, curve: str) -> list[float]:
    """Return at which share of training each ratio is reached."""
    if curve not in ("linear", "cosine"):
        raise UsageError(f'curve is {curve!r}, but must be "linear" or "cosine".')
    if ratios is None:
        if ratio_at is not None or curve != "linear":
            raise UsageError("ratio_at and curve say how mask_ratios follow each other: give mask_ratios too.")
        return []
    if len(ratios) < 2:
        raise UsageError(f"mask_ratios are {ratios!r}, but must be two or more, from the beginning to the end.")
    shares = [i / (len(ratios) - 1) for i in range(len(ratios))] if ratio_at is None else list(ratio_at)
    ascending = all(early < late for early, late in pairwise(shares))
    if len(shares) != len(ratios) or (shares[0], shares[-1]) != (0, 1) or not ascending:
        raise UsageError(
            f"ratio_at is {shares} for {len(ratios)} ratios: give a share of training for each, ascending from 0 to 1."
        )
    return shares


def _ratio(progress: float, ratios: Sequence[float], shares: Sequence[float], curve: str) -> float:
    """Return the ratio when `progress` of training is over."""
    i = min(bisect_right(shares, progress), len(shares) - 1)
    way = (progress - shares[i - 1]) / (shares[i] - shares[i - 1])
    way = (1 - cos(pi * way)) / 2 if curve == "cosine" else way
    return ratios[i - 1] + (ratios[i] - ratios[i - 1]) * way
