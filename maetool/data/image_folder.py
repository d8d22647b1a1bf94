"""Images in a folder or in a list, with the broken ones passed over and reported."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maetool.data.base import ImageDataset
from maetool.data.file_index import FileIndex, index_files
from maetool.data.image_io import UnreadableImage, read_image
from maetool.errors import UsageError
from maetool.registry import DATASETS

# The second number settles it: among 32 files, four broken ones can be bad luck.
_PROBES = (32, 320)
_MAX_IN_A_ROW = 100


@DATASETS.register_module()
class ImageFolderDataset(ImageDataset):
    """The images below a folder, or those that a text list names.

    A file that cannot be read is replaced by the next that can, and the sample says so in `skipped`; `BrokenFiles`
    gathers these in the main process.

    Args:
        root: folder of images at any depth, or text list with one path a line.
        in_chans: channels of each image; other than 1 and 3 needs `.npy` or `.tiff` files.
        pipeline: transforms, each a config or a callable from an image (C, H, W) to an image (C, H, W).
        with_labels: give each sample the `label` of its class, the first folder below `root` in sorted order.
        max_broken: largest share of broken files that is tolerated, 0 to 1.
        limit: use only this many files, evenly spaced over the sorted names; all by default.
        nodata: value that marks pixels without data, where all channels hold it; they count nothing in the loss, and
            the encoder sees the mean of the others there. The transforms then get one channel more and must be
            geometric.
        index_cache: folder of the cached file list; by default in the user's cache folder.
        seed: seed of the augmentation where no sampler hands over a key.

    Attributes:
        files: the files in use.
        classes: names of the classes; empty without labels.
        holds_floats: the files tried first hold other than 8-bit values; then every image is float32.

    Raises:
        UsageError: no images, a nonsensical argument, more broken files than `max_broken` in a probe of the files, or
            with labels images outside of class folders or one class only.
    """

    def __init__(
        self,
        root: str | Path,
        in_chans: int = 3,
        pipeline: Sequence[Any] = (),
        with_labels: bool = False,
        max_broken: float = 0.1,
        limit: int | None = None,
        nodata: float | None = None,
        index_cache: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(pipeline, seed)
        _check(in_chans, max_broken, limit)
        self.in_chans = in_chans
        self.max_broken = max_broken
        self.nodata = nodata
        self.holds_floats = False  # until a file that is tried does
        self.files = index_files(root, index_cache)
        self.labels: np.ndarray | None = None
        self.classes: tuple[str, ...] = ()
        if with_labels:
            self.classes, self.labels = _classes_of(self.files)
            self.metainfo = {"classes": self.classes}
        if limit is not None and limit < len(self.files):
            chosen = np.arange(limit) * len(self.files) // limit
            self.files = self.files.take(chosen)
            self.labels = None if self.labels is None else self.labels[chosen]
        self._probe()

    def __len__(self) -> int:
        return len(self.files)

    def load(self, index: int) -> dict[str, Any]:
        """Return the image at `index`, or the next that can be read.

        Returns:
            `inputs`, a tensor (C, H, W), uint8 or float32; `skipped`, one line "path: reason" for each file passed
            over, empty as a rule; with labels `label`, that of the file which was read; with `nodata` the `weight`.

        Raises:
            UsageError: 100 files in a row, or all there are, cannot be read.
        """
        skipped: list[str] = []
        for step in range(min(_MAX_IN_A_ROW, len(self))):
            position = (index + step) % len(self)
            try:
                image = self._read(position)
            except UnreadableImage as error:
                skipped.append(str(error))
                continue
            sample = {"inputs": image, "skipped": "\n".join(skipped)}
            if self.nodata is not None:
                sample["inputs"], sample["weight"] = _fill_nodata(image, self.nodata)
            return sample if self.labels is None else {**sample, "label": int(self.labels[position])}
        raise UsageError(
            f"{len(skipped)} files in a row cannot be read, the first is {skipped[0]}: check the disk and the files, "
            f"and that in_chans={self.in_chans} is what they hold."
        )

    def _read(self, index: int) -> Tensor:
        image = read_image(self.files.path(index), self.in_chans)
        if image.dtype == torch.float32 and not self.holds_floats:
            raise UnreadableImage(
                self.files.path(index), "it holds other than 8-bit values, unlike the files tried first"
            )
        return image.float() if self.holds_floats else image  # one type, so that a batch can be stacked

    def _probe(self) -> None:
        """Read a few files, so that a wrong folder or a wrong `in_chans` shows before the training does."""
        for count in _PROBES:
            count = min(count, len(self))
            broken = [reason for i in range(count) if (reason := self._reason(i * len(self) // count))]
            if len(broken) <= self.max_broken * count:
                return
        raise UsageError(
            f"{len(broken)} of {count} files that were tried in {self.files.root} cannot be read, more than "
            f"max_broken={self.max_broken:g} allows: {'; '.join(broken[:3])}. Repair or remove them, set in_chans to "
            "what they hold, or give a larger max_broken."
        )

    def _reason(self, index: int) -> str:
        try:
            image = read_image(self.files.path(index), self.in_chans)
        except UnreadableImage as error:
            return str(error)
        self.holds_floats |= image.dtype == torch.float32
        return ""


def _fill_nodata(image: Tensor, nodata: float) -> tuple[Tensor, Tensor]:
    """Return the image (C, H, W), its gaps filled with the mean of its data, and where there is data, bool (H, W)."""
    valid = (image != nodata).any(dim=0)
    if not valid.any():
        return torch.zeros_like(image), valid
    mean = image[:, valid].float().mean(dim=1).to(image.dtype)
    return torch.where(valid, image, mean[:, None, None]), valid


def _check(in_chans: int, max_broken: float, limit: int | None) -> None:
    if in_chans < 1:
        raise UsageError(f"ImageFolderDataset got in_chans={in_chans}: give the number of channels, at least 1.")
    if not 0 <= max_broken <= 1:
        raise UsageError(f"ImageFolderDataset got max_broken={max_broken}: give a share from 0 to 1.")
    if limit is not None and limit < 1:
        raise UsageError(f"ImageFolderDataset got limit={limit}: give a number of files, at least 1, or None for all.")


def _classes_of(files: FileIndex) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the class names, sorted, and the int64 label (N,) of each file."""
    folders = []
    for i in range(len(files)):
        parts = files.relative(i).split("/", 1)
        if len(parts) == 1 or parts[0] == "..":
            raise UsageError(
                f"{files.path(i)} has no class: with_labels expects {files.root}/CLASS/IMAGE, a folder for each class."
            )
        folders.append(parts[0])
    classes = tuple(sorted(set(folders)))
    if len(classes) == 1:
        raise UsageError(
            f"{files.root} has only the class `{classes[0]}`: with_labels expects a folder for each of two or more "
            "classes directly below it."
        )
    label_of = {name: label for label, name in enumerate(classes)}
    return classes, np.fromiter((label_of[folder] for folder in folders), np.int64, len(folders))
