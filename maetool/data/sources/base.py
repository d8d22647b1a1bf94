"""What a source of images is: bytes by index, and what it knows of labels."""

import os
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from maetool.errors import UsageError, printable
from maetool.reading import MOST_BYTES


class Labels(NamedTuple):
    """The labels of a dataset.

    Attributes:
        classes: names of the K classes.
        values: int64 (N,), or float32 (N, K) of zeros and ones where an image may have several labels; NaN for one that
            is unknown, which counts nothing.
    """

    classes: list[str]
    values: Tensor


class Measurements(NamedTuple):
    """Numbers to predict of the images of a dataset.

    Attributes:
        names: of the K numbers.
        values: float32 (N, K), NaN where one is unknown.
    """

    names: list[str]
    values: Tensor


class Source:
    """Base of the sources: the encoded images of a dataset as bytes, in a fixed order.

    A subclass sets `root` and writes `__len__`, `relative` and `read`. Worker processes get copies of it, by fork or
    pickled, and may read at the same time. `maetool.testing.check_source` checks all this.

    Attributes:
        root: what the names start from, such as a folder; it stands in messages.
        files_in: the argument that says where the bytes are; None where nothing on a disk is read.
    """

    root: str
    files_in: ClassVar[str | None] = None

    def __len__(self) -> int:
        """Return the number of images N."""
        raise NotImplementedError(f"{type(self).__name__} must say how many images there are: write `__len__`.")

    def relative(self, index: int) -> str:
        """Return the name of image `index`, each of which has another: its path as seen from `root`."""
        raise NotImplementedError(f"{type(self).__name__} must name its images: write `relative`.")

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return `path(index)` and the content of the image file.

        Raises:
            UnreadableImage: it is missing, damaged, or has more than `most` bytes.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how an image is read: write `read`.")

    def path(self, index: int) -> str:
        """Return what to call image `index` in a message."""
        return os.path.join(self.root, self.relative(index))

    def labels(self) -> Labels | Measurements:
        """Return what the source knows of labels; by default the first folder of each name is the class.

        Raises:
            UsageError: it knows none, or only one class.
        """
        return labels_from_folders(self)

    def groups(self) -> Tensor | None:
        """Return the number of each image's group, int64 (N,), such as its patient; None if the source knows none."""
        return None

    def held_out(self) -> Tensor | None:
        """Return which images are held out for validation, bool (N,); None if the source does not say it."""
        return None

    def take(self, indices: Iterable[int]) -> "Source":
        """Return the images `indices` only, in this order; they keep names, classes and labels."""
        return _Taken(self, np.fromiter(indices, np.int64))


class _Taken(Source):
    """Some of the images of a source."""

    def __init__(self, source: Source, indices: np.ndarray) -> None:
        self.source, self.indices, self.root = source, indices, source.root

    def __len__(self) -> int:
        return len(self.indices)

    def relative(self, index: int) -> str:
        return self.source.relative(self._at(index))

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        return self.source.read(self._at(index), most)

    def path(self, index: int) -> str:
        return self.source.path(self._at(index))

    def labels(self) -> Labels | Measurements:
        labels = self.source.labels()
        return labels._replace(values=labels.values[torch.from_numpy(self.indices)])

    def groups(self) -> Tensor | None:
        groups = self.source.groups()
        return None if groups is None else groups[torch.from_numpy(self.indices)]

    def held_out(self) -> Tensor | None:
        held_out = self.source.held_out()
        return None if held_out is None else held_out[torch.from_numpy(self.indices)]

    def _at(self, index: int) -> int:
        return int(self.indices[index])


def groups_by_name(names: Sequence[str]) -> Tensor:
    """Return the number of the group of each image, int64 (N,), from `names`; one without a name is its own group."""
    names = [name or f"\0{number}" for number, name in enumerate(names)]
    number_of = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([number_of[name] for name in names])


def labels_from_folders(files: Source, above: int = 0) -> Labels:
    """Return the labels of `files` in a folder for each class, the first one below the root, by sorted names.

    Args:
        files: the images.
        above: how many folders, such as those of folds, stand before that of the class.

    Raises:
        UsageError: an image outside of class folders, or one class only.
    """
    folders = []
    for i in range(len(files)):
        parts = files.relative(i).split("/")[above:]
        if len(parts) < 2 or parts[0] == "..":
            raise UsageError(
                f"{files.path(i)} has no class: labels are read from the folders, {files.root}/CLASS/IMAGE; sort the "
                "images into one for each class, or pass a table of paths and labels."
            )
        folders.append(printable(parts[0]))
    classes = sorted(set(folders))
    if len(classes) == 1:
        raise UsageError(
            f"{files.root} has only the class `{classes[0]}`: labels are read from a folder for each of two or more "
            "classes directly below it, or pass a table of paths and labels."
        )
    label_of = {name: label for label, name in enumerate(classes)}
    return Labels(classes, torch.tensor([label_of[folder] for folder in folders]))
