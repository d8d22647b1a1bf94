"""Maskers on a smaller layout: tubes of a clip, and streams."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.geometry import count_kept, format_size
from maetool.ops.random import KeyedRandom
from maetool.registry import MASKERS
from maetool.structures import Layout, MaskPlan, scores_without_padding

from .base import Masker


@MASKERS.register_module()
class TubeMasker(Masker):
    """Removes the same places in all slices along the first axis, so that no slice shows what another one hides.

    The count of removed places of a slice is rounded down: 176 of 196 at 90 %. Source: VideoMAE, section 3.3
    (MCG-NJU/VideoMAE, `masking_generator.py`).

    Args:
        mask_ratio, predict_ratio: see `Masker`.
        masker: config or module of the masker that chooses the places of a slice, of which only the scores are used;
            None, at random.

    Raises:
        UsageError: a grid of one axis, or a masker that makes more than scores.
    """

    part_registries = {"masker": MASKERS}
    takes_padding = False

    def __init__(self, mask_ratio: float = 0.9, predict_ratio: float | None = None, masker: Any = None) -> None:
        super().__init__(mask_ratio, predict_ratio)
        self.masker = None if masker is None else _only_scores(masker, type(self).__name__)
        self.needs = getattr(self.masker, "needs", ())

    def num_keep(self, grid: Sequence[int]) -> int:
        """Return how many patches of a grid stay visible.

        Raises:
            UsageError: a grid of one axis, or a ratio that leaves nothing visible.
        """
        if len(grid) < 2:
            raise UsageError(
                f"TubeMasker hides the same places in all slices, but a grid of {format_size(grid)} has none."
            )
        return grid[0] * count_kept(prod(grid[1:]), self.mask_ratio, round_up=True)

    def num_predict(self, grid: Sequence[int]) -> int | None:
        """Return how many patches are predicted, whole tubes; None is all that are removed."""
        if self.predict_ratio is None:
            return None
        places = prod(grid[1:])
        hidden = int(places * (self.mask_ratio - self.predict_ratio) + 1e-6)
        return grid[0] * (places - hidden) - self.num_keep(grid)

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...], **clues: Any) -> Tensor:
        """Return one rank for each tube (B, L); the sort is stable, so tubes stay whole."""
        places = prod(grid[1:])
        scores = rng.order(places) if self.masker is None else self.masker.scores(rng, grid[1:], **clues)
        # Patches of a tube lie far apart in the index, and a tube takes as many ranks as it has patches.
        ranks = scores.argsort(dim=1, stable=True).argsort(dim=1)  # (B, places)
        return ranks[:, None].expand(-1, grid[0], -1).flatten(1).float()


@MASKERS.register_module()
class StreamMasker(Masker):
    """Masks several streams together, alike, or each with a masker of its own.

    Without it each stream has its own ratio and draw. Source: SatMAE (`together` is its independent mask, `same` its
    spatial one; sustainlab-group/SatMAE); MultiMAE's Dirichlet shares (`dirichlet`; EPFL-VILAB/MultiMAE).

    Args:
        mask_ratio, predict_ratio: see `Masker`; of all patches of all streams.
        across: "together", the patches of all streams are drawn as one set, so that a stream may keep more or fewer in
            each sample; "same", streams of equal grids hide the same places; "dirichlet", as together, but each sample
            first draws the streams' shares of the visible patches.
        masker: config or module of the masker whose scores are used, on the grid of all patches in a row for "together"
            or of one stream for the others; None, at random.
        concentration: of the Dirichlet distribution, for each stream alike: 1 draws all shares alike, a large number
            nearly equal ones.

    Raises:
        UsageError: an unknown choice, streams of different grids with "same", or a concentration that is not positive.
    """

    part_registries = {"masker": MASKERS}

    def __init__(
        self,
        mask_ratio: float = 0.75,
        predict_ratio: float | None = None,
        across: Literal["together", "same", "dirichlet"] = "together",
        masker: Any = None,
        concentration: float = 1.0,
    ) -> None:
        super().__init__(mask_ratio, predict_ratio)
        if across not in ("together", "same", "dirichlet"):
            raise UsageError(f'across is {across!r}, but must be "together", "same" or "dirichlet".')
        if not concentration > 0:
            raise UsageError(f"concentration is {concentration!r}, but must be positive.")
        self.across, self.concentration = across, concentration
        self.takes_padding = across != "same"  # places that one stream has, and another lacks
        self.masker = None if masker is None else _only_scores(masker, type(self).__name__)
        self.needs = getattr(self.masker, "needs", ())

    def plan(self, rng: KeyedRandom, layout: Layout, weight: Tensor | None = None, **clues: Any) -> MaskPlan:
        """Return the plan of all streams at once."""
        whole = (layout.length,)
        if self.across == "same":
            scores, number = self._same(rng, layout, clues)
            return MaskPlan.from_scores(scores, number, layout, self.num_predict(whole), weight)
        if layout.valid is None:
            counts = self.counts(rng, whole)
        else:
            counts = self.counts_of(rng, layout.valid.sum(dim=1), layout.length)
        if self.across == "dirichlet":
            scores = self._shared_out(rng, layout, counts["num_keep"])
        else:
            scores = self._scores(rng, whole, clues)
        if layout.valid is not None:
            scores = scores_without_padding(scores, layout.valid, counts["num_keep"])
        return MaskPlan.from_scores(scores, grid=layout, weight=weight, **counts)

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...], **clues: Any) -> Tensor:
        """Return the scores (B, L) of one stream."""
        return self._scores(rng, grid, clues)

    def _scores(self, rng: KeyedRandom, grid: tuple[int, ...], clues: Mapping[str, Any]) -> Tensor:
        return rng.order(prod(grid)) if self.masker is None else self.masker.scores(rng, grid, **clues)

    def _same(self, rng: KeyedRandom, layout: Layout, clues: Mapping[str, Any]) -> tuple[Tensor, int]:
        grids = list(layout.grids.values())
        if len(set(grids)) > 1:
            raise UsageError(f'across="same" hides the same places in streams of equal grids, but they are {layout}.')
        ranks = self._scores(rng, grids[0], clues).argsort(dim=1, stable=True).argsort(dim=1)
        return ranks.repeat(1, len(grids)).float(), len(grids) * count_kept(prod(grids[0]), self.mask_ratio)

    def _shared_out(self, rng: KeyedRandom, layout: Layout, visible: int | Tensor) -> Tensor:
        """Return scores (B, L) by which each stream keeps its share of the `visible` patches, as far as it has any."""
        gamma = _gamma(rng, self.concentration, len(layout.lengths))  # (B, S)
        visible = visible[:, None] if isinstance(visible, Tensor) else visible
        shares = (gamma / gamma.sum(dim=1, keepdim=True) * visible).round()  # (B, S)
        parts = []
        for i, (name, length) in enumerate(layout.lengths.items()):
            order, valid = rng.order(length), layout.only(name).valid
            order = order if valid is None else order.masked_fill(~valid, torch.inf)  # padding takes no share
            ranks = order.argsort(dim=1).argsort(dim=1)
            parts.append(ranks + (ranks >= shares[:, i, None]) * layout.length)  # beyond its share after all others
        return torch.cat(parts, dim=1) + rng.order(layout.length)


def _gamma(rng: KeyedRandom, shape: float, number: int) -> Tensor:
    """Return gamma-distributed numbers (B, number), by Marsaglia and Tsang's method with as many trials as it needs.

    Source: Marsaglia and Tsang, "A simple method for generating gamma variables" (2000), whose trials fail rarely
    enough that 16 of them leave no sample without a number in practice.
    """
    trials, boosted = 16, shape if shape >= 1 else shape + 1
    d = boosted - 1 / 3
    c = (9 * d) ** -0.5
    normal, uniform = rng.normal(number, trials).double(), rng.uniform(number, trials).double().clamp(min=2**-25)
    v = (1 + c * normal) ** 3
    accepted = (v > 0) & (uniform.log() < 0.5 * normal**2 + d - d * v + d * v.clamp(min=1e-12).log())
    first = accepted.int().argmax(dim=-1, keepdim=True)
    drawn = (d * v.clamp(min=1e-12)).gather(-1, first)[..., 0]
    if shape >= 1:
        return drawn
    return drawn * rng.uniform(number).double().clamp(min=2**-25) ** (1 / shape)


def inner_masker(masker: Any, owner: str) -> Masker:
    """Build a masker of which another one uses only the scores.

    Args:
        masker: a masker or its config.
        owner: class name of the masker that uses it, for the message.

    Raises:
        UsageError: it makes plans, counts or a loss of its own.
    """
    built = MASKERS.build(masker)
    if is_special(type(built)):
        raise UsageError(
            f"{type(built).__name__} makes more than scores (plans, counts or a loss of its own), so {owner} cannot "
            "use it: use it alone."
        )
    return built


def _only_scores(masker: Any, owner: str) -> Masker:
    """Return `inner_masker(masker, owner)`, of which even the number of predicted patches is not used."""
    built = inner_masker(masker, owner)
    own = [part.predict_ratio for part in built.modules() if isinstance(part, Masker) and part.predict_ratio]
    if own:
        raise UsageError(
            f"{owner} takes only the scores of {type(built).__name__}, whose predict_ratio is {own[0]}: set that of "
            f"{owner} instead."
        )
    return built


def is_special(kind: type) -> bool:
    """Return whether the masker class `kind` makes plans, counts or a loss of its own, and not only scores."""
    own = any(getattr(kind, name, None) is not getattr(Masker, name) for name in ("plan", "counts"))
    return own or hasattr(kind, "loss")
