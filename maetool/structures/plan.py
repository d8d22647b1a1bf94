"""The mask plan: the one value that travels between the parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from maetool.errors import UsageError
from maetool.ops.patches import inverse_permutation, take_tokens

from .layout import Bounds, Layout
from .over_processes import total_of

Where = Layout | Mapping[str, Sequence[int]] | Sequence[int]


@dataclass(frozen=True, eq=False)
class MaskPlan:
    """Which patches are visible, which are removed and which are predicted, for a batch.

    The visible and the predicted set are independent: a method may predict fewer than the removed patches, or others.

    Attributes:
        layout: the streams of patches and their grids; a grid alone, such as (h, w), is that of the only stream. L is
            the number of all patches, and flat indices run over the streams in their order.
        ids_keep: int64 (B, V), the visible patches in the order in which they enter the encoder.
        ids_predict: int64 (B, M), the patches to predict, ascending; in groups, ascending within each.
        ids_restore: int64 (B, L), where each patch stands in the sequence "those of `ids_keep`, then the others".
        mask: bool (B, L), True (1) = removed: the encoder does not see it. False (0) = visible.
        weight: float (B, M), the weight of each predicted patch in the loss, or None for equal weights.
        blank: bool (B, V), True = a removed patch whose place alone enters the encoder, as a mask token. Or None.
        keep_valid: bool (B, V), False = padding, where samples keep different numbers of patches; or None, they do not.
        group: int64 (B, M), the group that each prediction belongs to: groups are predicted separately, and a patch may
            be in several. Or None, all belong together.
        aux: what a masker hands on to its own loss, such as log-probabilities (B, L).
        sizes: name of a stream to its numbers of visible and of predicted patches, where all samples have the same; {}
            if that is not known without reading tensors.
        keys: int64 (B,), on any device, the keys of the samples, from which parts that follow the masker draw. Or None.
    """

    layout: Layout
    ids_keep: Tensor
    ids_predict: Tensor
    ids_restore: Tensor
    mask: Tensor
    weight: Tensor | None = None
    blank: Tensor | None = None
    keep_valid: Tensor | None = None
    group: Tensor | None = None
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    keys: Tensor | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layout", Layout.of(self.layout))

    @classmethod
    def from_scores(
        cls,
        scores: Tensor,
        num_keep: int | Tensor,
        grid: Where,
        num_predict: int | Tensor | None = None,
        weight: Tensor | None = None,
        num_blank: int | Tensor = 0,
        bounds: Bounds | None = None,
    ) -> "MaskPlan":
        """Keep the `num_keep` patches of smallest score and remove the others.

        A number may differ between samples, as int64 (B,); shorter samples are then padded, see `keep_valid`, and
        padded predictions have the weight 0.

        Args:
            scores: (B, L); ties go to the lower index.
            num_keep: visible patches, from 1 to L - 1; a sample of several may also keep all.
            grid: the patches along each axis of the only stream, or the layout of several.
            num_predict: M, the removed patches of largest score; by default all of the removed.
            weight: (B, L), weight of each patch in the loss.
            num_blank: of the removed patches, those of smallest score that enter the encoder as mask tokens.
            bounds: of numbers that differ; see `Bounds`.

        Raises:
            UsageError: counts or shapes that do not fit together.
        """
        layout = Layout.of(grid)
        length = _check_shape(scores, layout, "scores")
        num_predict = length - num_keep if num_predict is None else num_predict
        counts = {"keep": num_keep, "predict": num_predict, "blank": num_blank}
        if any(isinstance(number, Tensor) for number in counts.values()):
            from .several import plan_of_counts  # here, because most plans need it not

            return plan_of_counts(scores, layout, counts, weight, bounds)
        keep, predict, blank = map(int, counts.values())
        _check_counts(length, keep, predict, blank)
        ids_shuffle = torch.argsort(scores, dim=1, stable=True)  # (B, L)
        ids_restore = inverse_permutation(ids_shuffle)  # (B, L)
        ids_predict = ids_shuffle[:, length - predict :].sort(dim=1).values  # (B, M)
        entering = torch.arange(keep + blank, device=scores.device).expand(len(scores), -1)
        return cls(
            layout=layout,
            ids_keep=ids_shuffle[:, : keep + blank],
            ids_predict=ids_predict,
            ids_restore=ids_restore,
            mask=ids_restore >= keep,
            weight=None if weight is None else weight.gather(1, ids_predict),
            blank=entering >= keep if blank else None,
        )

    @classmethod
    def from_mask(cls, mask: Tensor, grid: Where, weight: Tensor | None = None) -> "MaskPlan":
        """Build the plan of a mask (B, L) or (B, *grid), 1 = removed; all removed are predicted, by `weight` (B, L).

        Raises:
            UsageError: another shape, or samples that keep different numbers of patches; the message names the counts.
        """
        mask = mask.flatten(1).bool()
        layout = Layout.of(grid)
        _check_shape(mask, layout, "mask")
        counts = (~mask).sum(dim=1).unique().tolist()
        if len(counts) > 1:
            raise UsageError(
                f"The masks of a batch keep different numbers of patches ({', '.join(map(str, counts))}), "
                "but every sample must keep the same number: give masks with equal counts."
            )
        return cls.from_scores(mask.float(), counts[0], layout, weight=weight)

    @property
    def grid(self) -> tuple[int, ...]:
        """The patches along each axis of the only stream.

        Raises:
            UsageError: there are several streams.
        """
        return self.layout.grid

    @property
    def num_keep(self) -> int:
        """V, the number of places of each sample that enter the encoder: visible, blank and padded ones."""
        return self.ids_keep.shape[1]

    @property
    def mask_ratio(self) -> float:
        """The share of the patches that is removed, on average over the batch."""
        if self.blank is None and self.keep_valid is None:
            return 1 - self.num_keep / self.mask.shape[1]
        return float(self.mask.float().mean())

    def keep(self, tokens: Tensor) -> Tensor:
        """Return those that enter the encoder (B, V, D) of tokens (B, L, D)."""
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
            tokens: T prefix tokens, then those of `ids_keep` in its order; of padding they are left out.
            fill: (1, 1, D), (1, 1, 1) or (B, 1, D), for the places that did not enter the encoder.
            num_prefix_tokens: T.
        """
        batch, _, width = tokens.shape
        prefix = torch.arange(num_prefix_tokens, device=tokens.device).expand(batch, -1)
        ids = torch.cat([prefix, self.ids_keep + num_prefix_tokens], dim=1)  # (B, T + V)
        if self.keep_valid is not None:
            valid = pad(self.keep_valid, (num_prefix_tokens, 0), value=True)
            tokens = torch.where(valid[..., None], tokens, fill.to(tokens.dtype))
        # The places, of which most hold the fill.
        places = fill.to(tokens.dtype).expand(batch, num_prefix_tokens + self.mask.shape[1], width)  # (B, T + L, D)
        # Written once, and read once backwards: a gather from [tokens, fill] would copy all of it twice.
        return places.scatter(1, ids[..., None].expand(-1, -1, width), tokens)

    def predicting(self, which: Literal["planned", "visible", "all", "image"]) -> "MaskPlan":
        """Return the plan with other patches to predict.

        Args:
            which: "planned", what the plan says; "visible", the visible patches; "all", every patch; "image", one place
                that stands for the image. Other selections than the planned one have uniform weights and no groups.

        Raises:
            UsageError: an unknown choice, or the visible patches of samples that differ in their number.
        """
        if which == "planned":
            return self
        if which not in ("visible", "all", "image"):
            raise UsageError(f'{which!r} cannot be predicted, but must be "planned", "visible", "all" or "image".')
        everything = torch.arange(self.mask.shape[1], device=self.mask.device).expand(len(self.mask), -1)
        if which != "visible":
            ids = everything[:, : 1 if which == "image" else None]
            return replace(self, ids_predict=ids, weight=None, group=None, sizes={})
        ids, order = self.ids_keep.sort(dim=1)
        seen = self._seen()
        weight = None if seen is None else seen.gather(1, order).float()
        return replace(self, ids_predict=ids, weight=weight, group=None, sizes={})

    def _seen(self) -> Tensor | None:
        """Return which of `ids_keep` are visible, bool (B, V); None is all."""
        if self.blank is None:
            return self.keep_valid
        return ~self.blank if self.keep_valid is None else ~self.blank & self.keep_valid

    def average(self, errors: Tensor) -> Tensor:
        """Return the mean of the errors (B, M) of the predicted patches, by their weights if they have any; 0 of none.

        Errors (B, T + M) begin with those of the prefix, of which each has the weight 1.
        """
        if self.weight is None:
            return errors.mean() if errors.numel() else errors.sum()
        weight = pad(self.weight, (errors.shape[1] - self.weight.shape[1], 0), value=1.0)  # (B, T + M)
        return (errors * weight).sum() / total_of(weight).clamp(min=1e-6)

    def scatter(self, pred: Tensor, into: Tensor) -> Tensor:
        """Return a copy of `into` (B, L, P) in which the predicted places hold `pred` (B, M, P)."""
        index = self.ids_predict[..., None].expand(-1, -1, into.shape[2])
        return into.scatter(1, index, pred.to(into.dtype))

    def only(self, stream: str) -> "MaskPlan":
        """Return the plan of one stream in that stream's own indices; see `maetool.structures.plan_of_stream`.

        Raises:
            UsageError: there is no such stream.
        """
        from .several import plan_of_stream

        return plan_of_stream(self, stream)

    def mask_at(self, size: Sequence[int]) -> Tensor:
        """Return the mask at another resolution, bool (B, *size), each cell taken from the patch that covers it."""
        mask = self.mask.unflatten(1, self.grid)
        for axis, (side, cells) in enumerate(zip(size, self.grid, strict=True), start=1):
            mask = mask.index_select(axis, torch.arange(side, device=mask.device) * cells // side)
        return mask

    def to(self, device: torch.device | str) -> "MaskPlan":
        """Return the plan on another device."""
        return replace(self.mapped(lambda x: x.to(device, non_blocking=x.is_cpu)), sizes=self.sizes)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "MaskPlan":
        """Return the plan with `change` applied to each of its tensors, whose first axis is the batch."""
        changed = {name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        aux = {name: change(value) for name, value in self.aux.items()}
        return replace(self, **changed, aux=aux, layout=self.layout.mapped(change), sizes={})

    def validate(self) -> "MaskPlan":
        """Return the plan itself if its parts agree.

        Raises:
            ValueError: indices that repeat or lie outside, or a mask that contradicts them.
        """
        length = self.layout.length
        everything = torch.arange(length, device=self.mask.device).expand(len(self.mask), -1)
        seen = self._seen()
        kept = torch.ones_like(self.ids_keep, dtype=torch.bool) if seen is None else seen
        visible = torch.zeros_like(self.mask).scatter(1, self.ids_keep, kept)
        first = self.ids_restore.gather(1, self.ids_keep)
        groups = self.group if self.group is not None else torch.zeros_like(self.ids_predict)
        steps, same = self.ids_predict.diff(dim=1), groups.diff(dim=1) == 0
        checks = {
            "ids_restore is a permutation of the patches": torch.equal(self.ids_restore.sort(1).values, everything),
            "mask and ids_keep say the same": torch.equal(~self.mask, visible),
            "ids_restore puts ids_keep first": torch.equal(first, everything[:, : self.num_keep]),
            "ids_predict ascends without repeats": bool(((steps > 0) | ~same).all()),
            "groups come one after another": bool((groups.diff(dim=1) >= 0).all()),
            "ids_predict lies on the grid": bool(((self.ids_predict >= 0) & (self.ids_predict < length)).all()),
            "weight has the shape of ids_predict": self.weight is None or self.weight.shape == self.ids_predict.shape,
            "group has the shape of ids_predict": groups.shape == self.ids_predict.shape,
        }
        for claim, holds in checks.items():
            if not holds:
                raise ValueError(f"Not a valid mask plan: it is not true that {claim}.")
        return self


def _check_counts(length: int, num_keep: int, num_predict: int, num_blank: int) -> None:
    removed = length - num_keep
    if not 0 < num_keep < length or not 0 < num_predict <= removed or not 0 <= num_blank <= removed:
        blank = f" and {num_blank} left blank" if num_blank else ""
        raise UsageError(
            f"Of {length} patches {num_keep} cannot be kept and {num_predict} predicted{blank}: "
            "keep at least one, and predict at least one and at most those removed."
        )


def _check_shape(values: Tensor, layout: Layout, name: str) -> int:
    length = layout.length
    if values.ndim != 2 or values.shape[1] != length:
        more = f", or (batch, {', '.join(map(str, layout.grid))}) for a mask" if len(layout.grids) == 1 else ""
        raise UsageError(
            f"The {name} have the shape {tuple(values.shape)}, but a grid of {layout} needs (batch, {length}){more}."
        )
    return length
