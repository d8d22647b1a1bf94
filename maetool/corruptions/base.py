"""What every corruption shares."""

from typing import Any

from torch import nn

from maetool.ops.random import KeyedRandom
from maetool.structures import MaskPlan


class Corruption(nn.Module):
    """Base of the corruptions: the encoder sees other pixels than the target.

    A corruption is a function of images, plan and random numbers of each sample, and draws from nothing else, so that a
    resumed run goes on exactly. It must not change the images in place, because targets read them.
    """

    def forward(self, images: Any, plan: MaskPlan, rng: KeyedRandom) -> Any:
        """Return what the encoder sees.

        Args:
            images: (B, C, *size), normalised, or a mapping from streams to tensors.
            plan: what is hidden, and what is predicted.
            rng: random numbers of each sample.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what the encoder sees: write `forward`.")
