"""Datasets whose truth lies at the places of an image, and must be cropped and mirrored with it."""

from collections.abc import Callable, Mapping
from typing import Any

from maetool.data.transforms.adapter import Adapter
from maetool.data.transforms.sample import Sample

from .base import ImageDataset


class DenseDataset(ImageDataset):
    """Base of the datasets of segmentation; a subclass writes `__len__` and `load`.

    `load` gives `inputs`, (C, H, W), and `semantic`, int64 (H, W): the class of each pixel or `ignore_index`.

    Raises:
        UsageError: a transform that would change the image alone.
    """

    moves = ("maps",)
    ignore_index = 255

    def accepted(self, transform: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return a transform of the pipeline, which is told what the class of pixels is that count nothing.

        Raises:
            UsageError: it would change the image alone.
        """
        if isinstance(transform, Adapter):
            transform.outside = self.ignore_index
        return super().accepted(transform)

    def describe(self) -> str:
        """Return a sentence on what is to be learnt."""
        return f"{len(self):,} images whose pixels are of {len(self.classes)} classes."

    def truth_of(self, stored: Mapping[str, Any], size: tuple[int, int]) -> Sample:
        """Return the classes of the pixels, and what other datasets have."""
        return {**super().truth_of(stored, size), "semantic": stored["semantic"]}
