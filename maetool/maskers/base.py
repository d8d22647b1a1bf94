"""What every masker shares: from scores, or from a given mask, to a plan."""

from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.geometry import count_kept
from maetool.ops.masking import to_grid
from maetool.ops.random import KeyedRandom
from maetool.structures import MaskPlan

Advisor = Callable[[Tensor], Tensor]


class Masker(nn.Module):
    """Base of the maskers; a subclass usually writes `scores` and nothing else.

    A masker that needs more than a grid names it in `needs`, and `scores` gets it as an argument of that name:
    "images", or whatever the model has an advisor for, such as "attention" of a teacher or predicted "losses".

    Args:
        mask_ratio: share of the patches that is removed, in (0, 1).
        predict_ratio: share of the patches that is predicted, in (0, mask_ratio]; by default all that are removed.
            Of the removed those of largest score are chosen. Source: CrossMAE (its `kept_mask_ratio`).

    Attributes:
        needs: what `scores` asks for beside the random numbers and the grid.
        unit: patches that are hidden together along each axis; encoders whose tokens cover several patches ask for it.
        progress: how much of training is over, in [0, 1]; the training loop tells it, schedules read it.

    Raises:
        UsageError: ratios that make no sense.
    """

    needs: tuple[str, ...] = ()
    unit: int | Sequence[int] = 1

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
        images: Tensor,
        grid: Sequence[int],
        given: Tensor | None = None,
        keys: Tensor | None = None,
        weight: Tensor | None = None,
        advisors: Mapping[str, Advisor] | None = None,
    ) -> MaskPlan:
        """Return the plan of a batch.

        Args:
            images: (B, C, H, W); most maskers only look at their number and device.
            grid: patches along each axis.
            given: a mask, 1 = removed, that wins over the masker's own choice: (B, L), (B, *grid) or, in pixels,
                (B, H, W), where a patch is removed as soon as one of its pixels is.
            keys: int64 (B,), the key of each sample: equal keys, equal plans, whatever batch, process or device they
                come in. Without keys they are drawn from torch's default generator.
            weight: how much each patch counts in the loss, in the shapes of `given`; of pixels the mean is taken. Give
                0 to regions without data and to padding.
            advisors: name to function of the images, for maskers that need more.

        Raises:
            UsageError: the ratio leaves no patch visible, a given mask or weight does not fit, or no advisor is there.
        """
        grid = tuple(grid)
        if weight is not None:
            weight = to_grid(weight.to(images.device).float(), grid, "weight", "mean").flatten(1)
        if given is not None:
            mask = to_grid(given.to(images.device).float(), grid, "mask", "any")
            return MaskPlan.from_mask(mask, grid, weight)
        if keys is None:
            keys = torch.randint(2**62, (len(images),))
        asked = {name: self._ask(name, images, advisors or {}) for name in self.needs}
        scores = self.scores(KeyedRandom(keys.to(images.device)), grid, **asked)
        return MaskPlan.from_scores(scores, self.num_keep(grid), grid, self.num_predict(grid), weight)

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
        """Return the scores (B, L) of a batch of `len(rng)` samples; the patches of smallest score stay visible."""
        raise NotImplementedError(f"{type(self).__name__} must say what it hides: write `scores`.")

    def _ask(self, name: str, images: Tensor, advisors: Mapping[str, Advisor]) -> Tensor:
        if name == "images":
            return images
        if name not in advisors:
            raise UsageError(
                f"{type(self).__name__} needs `{name}`, but the model has advisors for "
                f"{', '.join(advisors) or 'nothing'}: add model.advisors.{name}, which gives one number a patch."
            )
        with torch.no_grad():
            return advisors[name](images)
