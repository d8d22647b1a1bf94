"""One flip, under the names that it has in pipelines of images, of maps and of objects."""

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.registry import TRANSFORMS

from .sample import PhotoTransform, Sample, is_located


@TRANSFORMS.register_module()
class RandomHorizontalFlip(PhotoTransform):
    """Mirror the image, and what lies on it, left to right with probability `p`; comes before padding.

    Raises:
        UsageError: `p` outside 0..1.
    """

    takes = ("maps", "objects")

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise UsageError(f"{type(self).__name__} got p={p}: give a probability from 0 to 1.")
        self.p = p

    def image(self, image: Tensor) -> Tensor:
        """Return the image, mirrored or as it was."""
        return image.flip(-1) if torch.rand(1).item() < self.p else image  # (C, H, W)

    def move(self, sample: Sample) -> Sample:
        """Return all, mirrored or as they were."""
        if torch.rand(1).item() >= self.p:
            return sample
        from torchvision.transforms.v2.functional import horizontal_flip

        return {name: horizontal_flip(value) if is_located(value) else value for name, value in sample.items()}


@TRANSFORMS.register_module()
class RandomFlip(RandomHorizontalFlip):
    """A `RandomHorizontalFlip`; the name of 0.1 in pipelines of segmentation."""


@TRANSFORMS.register_module()
class FlipObjects(RandomHorizontalFlip):
    """A `RandomHorizontalFlip`; the name of 0.1 in pipelines of detection."""
