"""Datasets whose truth lies at the places of an image, and must be cropped and mirrored with it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from maetool.data.codecs.encoded import decoded
from maetool.errors import UsageError

from .base import ImageDataset


class DenseDataset(ImageDataset):
    """Base of the datasets of segmentation; a subclass writes `__len__` and `load`.

    `load` gives `inputs`, (C, H, W), and `semantic`, int64 (H, W): the class of each pixel or `ignore_index`.

    The transforms of the pipeline go from a dict of both to a dict of both, and say so with `takes_truth`.

    Raises:
        UsageError: a transform that would change the image alone.
    """

    def accepted(self, transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a transform of the pipeline.

        Raises:
            UsageError: it would change the image alone.
        """
        if not getattr(transform, "takes_truth", False):
            raise UsageError(
                f"{type(transform).__name__} changes images alone, but the classes of the pixels must follow: use "
                "RandomScale, ClassBalancedCrop, RandomFlip, PhotometricDistortion and FitSize, or MMCV's."
            )
        return transform

    def describe(self) -> str:
        """Return a sentence on what is to be learnt."""
        return f"{len(self):,} images whose pixels are of {len(self.classes)} classes."

    def _transformed(self, stored: dict[str, Any], shared: bool) -> dict[str, Tensor]:
        sample = {"inputs": decoded(stored["inputs"]), "semantic": stored["semantic"]}
        for transform in self.transforms:
            sample = transform(sample)  # none works in place
        return {name: value.contiguous() for name, value in sample.items()}
