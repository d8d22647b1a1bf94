"""The images of one part of a source, such as those in its folders `train`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from .base import Labels, Measurements, Source, labels_from_folders
from .folder import FolderSource
from .part_names import check_part, part_in_path


@SOURCES.register_module()
class PartSource(Source):
    """The images of a source that lie in folders of one part of a data set; their names leave these folders out.

    Labels and groups are those of the source; where its classes are folders, those below the part are.

    Args:
        source: config of the source, such as an archive with the folders `train` and `val`.
        split: "train", "val" or "test", which the folders name by any usual name.

    Raises:
        UsageError: no such part, no image of it, or two folders of it with the same names inside.
    """

    part_registries: ClassVar = {"source": SOURCES}

    def __init__(self, source: Mapping[str, Any] | Source, split: str) -> None:
        check_part(split)
        self.source = SOURCES.build(source)
        self.root = self.source.root
        names = [part_in_path(self.source.relative(index)) for index in range(len(self.source))]
        self._indices = np.array([index for index, (part, _) in enumerate(names) if part == split], np.int64)
        if not len(self._indices):
            raise UsageError(
                f"{self.root} has no image in a folder of the part {split}: rename it, or give another split."
            )
        if len({names[index][1] for index in self._indices.tolist()}) < len(self._indices):
            raise UsageError(
                f"{self.root} has several folders of the part {split} with the same names inside: rename one of them."
            )

    def __len__(self) -> int:
        return len(self._indices)

    def relative(self, index: int) -> str:
        """Return the name of image `index` in the source, without the folder of the part."""
        return part_in_path(self.source.relative(self._at(index)))[1]

    def path(self, index: int) -> str:
        """Return what the source calls image `index`."""
        return self.source.path(self._at(index))

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return what the source calls image `index`, and its bytes.

        Raises:
            UnreadableImage: see the source.
        """
        return self.source.read(self._at(index), most)

    def labels(self) -> Labels | Measurements:
        """Return the labels of these images; the classes are those of all of the source, or the folders of the part.

        Raises:
            UsageError: the source knows none.
        """
        if type(self.source).labels in (Source.labels, FolderSource.labels):
            return labels_from_folders(self)
        return self.source.take(self._indices.tolist()).labels()

    def groups(self) -> Tensor | None:
        """Return the groups of these images, int64 (N,), or None if the source knows none."""
        groups = self.source.groups()
        return None if groups is None else groups[torch.from_numpy(self._indices)]

    def held_out(self) -> Tensor | None:
        """Return which of these images the source holds out, bool (N,), or None if it does not say it."""
        held_out = self.source.held_out()
        return None if held_out is None else held_out[torch.from_numpy(self._indices)]

    def _at(self, index: int) -> int:
        return int(self._indices[index])


def parts_in(source: Source) -> set[str]:
    """Return the parts whose folders a source has; empty unless every image is of one, and some are for training."""
    parts = {part_in_path(source.relative(index))[0] for index in range(len(source))}
    named = {part for part in parts if part is not None}
    return named if len(named) > 1 and named == parts and "train" in parts else set()
