"""How alike the predictions of an image are."""

from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.errors import UsageError
from maetool.registry import HEADS
from maetool.structures import MaskPlan
from maetool.structures.over_processes import mean_of_patches


@HEADS.register_module()
class SimilarityHead(nn.Module):
    """The squared distance of the mean cosine between the predictions of an image to a wanted one.

    The mean is over all pairs of patches of an image, a patch with itself included, and over the images that have any,
    in training those of all processes; what the
    cosine ought to be falls by half a cosine of the progress of training. The target is not read. Computed in float32
    whatever the autocast. Source: Latent MIM (yibingwei-1/LatentMIM, `models_lmim.py`).

    Args:
        start, end: the mean cosine at the beginning and at the end, in [-1, 1].

    Attributes:
        regularises, contrasts: True: predictions alone are looked at, so that none is perfect.

    Raises:
        UsageError: a cosine outside [-1, 1].
    """

    takes_tokens = False
    regularises = True
    contrasts = True
    level: Tensor

    def __init__(self, start: float = 0.75, end: float = 0.25) -> None:
        super().__init__()
        if not -1 <= start <= 1 or not -1 <= end <= 1:
            raise UsageError(f"start is {start!r} and end {end!r}, but must be cosines from -1 to 1.")
        self.start_level, self.end_level = start, end
        self.register_buffer("level", torch.tensor(float(start), device="cpu"))  # stored, so that resuming knows it

    def after_step(self, model: Any, progress: float) -> None:
        """Change the wanted cosine; called after each optimiser step, `progress` of training in [0, 1] being over.

        Args:
            model: not read.
            progress: the share of training that is over.
        """
        self.level.fill_(self.end_level + (self.start_level - self.end_level) * (1 + cos(pi * progress)) / 2)

    def forward(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return scalar losses.

        Args:
            pred: predictions (B, M, P).
            target: not read.
            plan: whose patches of weight 0 are left out.

        Returns:
            `loss`, and without gradient `similarity`, the mean cosine.
        """
        with torch.autocast(pred.device.type, enabled=False):
            similarity = mean_cosine(pred.float(), plan, self.training)
        return {"loss": (similarity - self.level).square(), "similarity": similarity.detach()}


def mean_cosine(tokens: Tensor, plan: MaskPlan, together: bool = False) -> Tensor:
    """Return the mean cosine of all pairs of tokens (B, M, P) of an image, a scalar; 0 of none.

    Args:
        tokens: of the patches to predict.
        plan: whose patches of weight 0 are left out, and images without any others.
        together: the mean is over the images of all processes, which must all call it.
    """
    # The mean over all pairs of unit vectors is the squared length of their mean.
    unit = functional.normalize(tokens, dim=-1)
    counts = torch.ones_like(unit[..., :1]) if plan.weight is None else (plan.weight > 0)[..., None].to(unit.dtype)
    mean = (unit * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1)  # (B, P)
    # Of all processes, also of one whose images have no patch to predict, which takes part nevertheless.
    some = (counts.sum(dim=1) > 0).to(unit.dtype) if together or plan.weight is not None else None  # (B, 1)
    return mean_of_patches(mean.square().sum(dim=-1)[:, None, None], some, together)[0]
