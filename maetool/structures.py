"""The mask plan: the one value that travels between the parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from .errors import UsageError
from .ops.patches import take_tokens


@dataclass(frozen=True, eq=False)
class MaskPlan:
    """Which patches are visible, which are removed and which are predicted, for a batch.

    The visible and the predicted set are independent: a method may predict fewer than the removed patches, or others.

    Attributes:
        grid: patches along each axis, for example (h, w); L is their product and flat indices run in C order.
        ids_keep: int64 (B, V), the visible patches in the order in which they enter the encoder.
        ids_predict: int64 (B, M), the patches to predict, ascending.
        ids_restore: int64 (B, L), where each patch stands in the sequence "visible ones first, then the removed".
        mask: bool (B, L), True (1) = removed, False (0) = visible.
        weight: float (B, M), the weight of each predicted patch in the loss, or None for equal weights.
    """

    grid: tuple[int, ...]
    ids_keep: Tensor
    ids_predict: Tensor
    ids_restore: Tensor
    mask: Tensor
    weight: Tensor | None = None

    @classmethod
    def from_scores(
        cls,
        scores: Tensor,
        num_keep: int,
        grid: Sequence[int],
        num_predict: int | None = None,
        weight: Tensor | None = None,
    ) -> "MaskPlan":
        """Keep the `num_keep` patches of smallest score and remove the others.

        Args:
            scores: (B, L); ties go to the lower index.
            num_keep: V, from 1 to L - 1.
            grid: patches along each axis.
            num_predict: M, the removed patches of largest score; by default all of the removed.
            weight: (B, L), weight of each patch in the loss.

        Raises:
            UsageError: counts or shapes that do not fit together.
        """
        length = _check_shape(scores, grid, "scores")
        num_predict = length - num_keep if num_predict is None else num_predict
        if not 0 < num_keep < length or not 0 < num_predict <= length - num_keep:
            raise UsageError(
                f"Of {length} patches {num_keep} cannot be kept and {num_predict} predicted: "
                "keep at least one, and predict at least one and at most those removed."
            )
        ids_shuffle = torch.argsort(scores, dim=1, stable=True)  # (B, L)
        ranks = torch.arange(length, device=scores.device).expand_as(ids_shuffle)
        ids_restore = torch.empty_like(ids_shuffle).scatter_(1, ids_shuffle, ranks)  # (B, L), the inverse permutation
        ids_predict = ids_shuffle[:, length - num_predict :].sort(dim=1).values  # (B, M)
        return cls(
            grid=tuple(grid),
            ids_keep=ids_shuffle[:, :num_keep],
            ids_predict=ids_predict,
            ids_restore=ids_restore,
            mask=ids_restore >= num_keep,
            weight=None if weight is None else weight.gather(1, ids_predict),
        )

    @classmethod
    def from_mask(cls, mask: Tensor, grid: Sequence[int], weight: Tensor | None = None) -> "MaskPlan":
        """Build the plan of a given mask (B, L) or (B, *grid), 1 = removed; all removed patches are predicted.

        Raises:
            UsageError: another shape, or samples that keep different numbers of patches; the message names the counts.
        """
        mask = mask.flatten(1).bool()
        _check_shape(mask, grid, "mask")
        counts = (~mask).sum(dim=1).unique().tolist()
        if len(counts) > 1:
            raise UsageError(
                f"The masks of a batch keep different numbers of patches ({', '.join(map(str, counts))}), "
                "but every sample must keep the same number: give masks with equal counts."
            )
        return cls.from_scores(mask.float(), counts[0], grid, weight=weight)

    @property
    def num_keep(self) -> int:
        """V, the number of visible patches of each sample."""
        return self.ids_keep.shape[1]

    @property
    def mask_ratio(self) -> float:
        """The share of the patches that is removed."""
        return 1 - self.num_keep / self.mask.shape[1]

    def keep(self, tokens: Tensor) -> Tensor:
        """Return the visible ones (B, V, D) of tokens (B, L, D)."""
        return take_tokens(tokens, self.ids_keep)

    def take_predicted(self, tokens: Tensor) -> Tensor:
        """Return the ones to predict (B, M, D) of tokens (B, L, D)."""
        return take_tokens(tokens, self.ids_predict)

    def take_seen(self, tokens: Tensor) -> Tensor:
        """Return the ones to predict (B, M, D), which must be visible, of the visible tokens (B, V, D)."""
        return take_tokens(tokens, self.ids_restore.gather(1, self.ids_predict))

    def restore(self, tokens: Tensor, fill: Tensor, num_prefix_tokens: int = 0) -> Tensor:
        """Return the prefix and the visible tokens (B, T + V, D) as (B, T + L, D), removed places holding `fill`.

        Args:
            tokens: T prefix tokens, then the visible ones in the order of `ids_keep`.
            fill: (1, 1, D) or (1, 1, 1), for the removed places.
            num_prefix_tokens: T.
        """
        batch, _, width = tokens.shape
        prefix = torch.arange(num_prefix_tokens, device=tokens.device).expand(batch, -1)
        ids = torch.cat([prefix, self.ids_keep + num_prefix_tokens], dim=1)  # (B, T + V)
        whole = fill.to(tokens.dtype).expand(batch, num_prefix_tokens + self.mask.shape[1], width)  # (B, T + L, D)
        # Written once, and read once backwards: a gather from [tokens, fill] would copy all of it twice.
        return whole.scatter(1, ids[..., None].expand(-1, -1, width), tokens)

    def predicting(self, which: Literal["planned", "visible", "all"]) -> "MaskPlan":
        """Return the plan with other patches to predict.

        Args:
            which: "planned", what the plan says; "visible", the visible patches; "all", every patch. The weights of a
                plan are those of its own patches, so that others weigh all alike.

        Raises:
            UsageError: an unknown choice.
        """
        if which == "planned":
            return self
        if which not in ("visible", "all"):
            raise UsageError(f'The patches to predict are {which!r}, but must be "planned", "visible" or "all".')
        everything = torch.arange(self.mask.shape[1], device=self.mask.device).expand(len(self.mask), -1)
        ids = everything if which == "all" else self.ids_keep.sort(dim=1).values
        return replace(self, ids_predict=ids, weight=None)

    def average(self, errors: Tensor) -> Tensor:
        """Return the mean of the errors (B, M) of the predicted patches, by their weights if they have any.

        Errors (B, T + M) begin with those of the prefix, of which each has the weight 1.
        """
        if self.weight is None:
            return errors.mean()
        weight = pad(self.weight, (errors.shape[1] - self.weight.shape[1], 0), value=1.0)  # (B, T + M)
        return (errors * weight).sum() / weight.sum().clamp(min=1e-6)

    def scatter(self, pred: Tensor, into: Tensor) -> Tensor:
        """Return a copy of `into` (B, L, P) in which the predicted places hold `pred` (B, M, P)."""
        index = self.ids_predict[..., None].expand(-1, -1, into.shape[2])
        return into.scatter(1, index, pred.to(into.dtype))

    def mask_at(self, size: Sequence[int]) -> Tensor:
        """Return the mask at another resolution, bool (B, *size), each cell taken from the patch that covers it."""
        mask = self.mask.unflatten(1, self.grid)
        for axis, (side, cells) in enumerate(zip(size, self.grid, strict=True), start=1):
            mask = mask.index_select(axis, torch.arange(side, device=mask.device) * cells // side)
        return mask

    def to(self, device: torch.device | str) -> "MaskPlan":
        """Return the plan on another device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return MaskPlan(**{**vars(self), **moved})

    def validate(self) -> "MaskPlan":
        """Return the plan itself if its parts agree.

        Raises:
            ValueError: indices that repeat or lie outside, or a mask that contradicts them.
        """
        length = prod(self.grid)
        everything = torch.arange(length, device=self.mask.device).expand(len(self.mask), -1)
        checks = {
            "ids_restore is a permutation of the patches": torch.equal(self.ids_restore.sort(1).values, everything),
            "mask and ids_keep say the same": torch.equal(
                ~self.mask, torch.zeros_like(self.mask).scatter(1, self.ids_keep, True)
            ),
            "ids_restore puts ids_keep first": torch.equal(
                self.ids_restore.gather(1, self.ids_keep), everything[:, : self.num_keep]
            ),
            "ids_predict ascends without repeats": bool((self.ids_predict.diff(dim=1) > 0).all()),
            "ids_predict lies on the grid": bool(((self.ids_predict >= 0) & (self.ids_predict < length)).all()),
            "weight has the shape of ids_predict": self.weight is None or self.weight.shape == self.ids_predict.shape,
        }
        for claim, holds in checks.items():
            if not holds:
                raise ValueError(f"Not a valid mask plan: it is not true that {claim}.")
        return self


def _check_shape(values: Tensor, grid: Sequence[int], name: str) -> int:
    length = prod(grid)
    if values.ndim != 2 or values.shape[1] != length:
        raise UsageError(
            f"The {name} have the shape {tuple(values.shape)}, but a grid of {'x'.join(map(str, grid))} needs "
            f"(batch, {length}), or (batch, {', '.join(map(str, grid))}) for a mask."
        )
    return length
