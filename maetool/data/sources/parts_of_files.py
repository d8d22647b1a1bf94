"""What sources share that make several images of each file of another source."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.registry import SOURCES

from .base import Labels, Measurements, Source


class PartsOfFiles(Source):
    """Several images of each file of a source, in its order.

    An image is named `FILE#PART`; its label is that of the file. Images of one file belong together: where a set is
    divided, all of them go to one side.

    A subclass writes `__len__`, `read`, `file_of` and `part_of`.

    Args:
        source: config of the source of files.
    """

    part_registries: ClassVar = {"source": SOURCES}

    def __init__(self, source: Mapping[str, Any] | Source) -> None:
        self.source = SOURCES.build(source)
        self.root = self.source.root

    def file_of(self, index: int) -> int:
        """Return the number of the file of image `index`."""
        return int(self.files_of(np.array([index]))[0])

    def files_of(self, indices: np.ndarray) -> np.ndarray:
        """Return the numbers of the files of the images `indices`, int64 (N,) both."""
        raise NotImplementedError(f"{type(self).__name__} must say which file an image is of: write `files_of`.")

    def part_of(self, index: int) -> str:
        """Return what to call the part of the file that image `index` is."""
        raise NotImplementedError(f"{type(self).__name__} must name the parts of files: write `part_of`.")

    def relative(self, index: int) -> str:
        """Return the name of the file of image `index` and of its part."""
        return f"{self.source.relative(self.file_of(index))}#{self.part_of(index)}"

    def path(self, index: int) -> str:
        """Return the path of the file of image `index` and the name of its part, for messages."""
        return f"{self.source.path(self.file_of(index))}#{self.part_of(index)}"

    def labels(self) -> Labels | Measurements:
        """Return the labels of the files, for each of their images.

        Raises:
            UsageError: the source knows none.
        """
        labels = self.source.labels()
        return labels._replace(values=labels.values[torch.from_numpy(self._all_files())])

    def groups(self) -> Tensor | None:
        """Return the number of each image's group: that of its file, or the file where the source knows no groups."""
        groups, files = self.source.groups(), torch.from_numpy(self._all_files())
        if groups is not None:
            return groups[files]
        return files if len(self.source) > 1 else None

    def held_out(self) -> Tensor | None:
        """Return which images are held out, those of files that are, bool (N,); None if the source does not say it."""
        held_out = self.source.held_out()
        return None if held_out is None else held_out[torch.from_numpy(self._all_files())]

    def _all_files(self) -> np.ndarray:
        return self.files_of(np.arange(len(self)))
