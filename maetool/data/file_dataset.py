"""What the datasets of files share: broken files are passed over and reported, labels come from the folders."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from maetool.errors import UsageError

from .base import ImageDataset
from .encoded_image import EncodedImage, decoded, open_image
from .image_io import UnreadableImage, check_backend

# The second number settles it: among 32 files, four broken ones can be bad luck.
_PROBES = (32, 320)
_MAX_IN_A_ROW = 100


class Files(Protocol):
    """The files of a dataset, in a fixed order.

    Attributes:
        root: the folder that they are in.
    """

    root: str

    def __len__(self) -> int: ...

    def path(self, index: int) -> str:
        """Return what to call file `index` in a message."""

    def relative(self, index: int) -> str:
        """Return the path of file `index` as seen from `root`."""

    def read(self, index: int) -> bytes:
        """Return the content of file `index`; an `UnreadableImage` says why it cannot be read."""

    def take(self, indices: Iterable[int]) -> "Files":
        """Return these files only."""


class FileDataset(ImageDataset):
    """Images in files; a subclass says where they are.

    A file that cannot be read is replaced by the next that can, and the sample says so in `skipped`; `BrokenFiles`
    gathers these in the main process.

    Args:
        files: where they are.
        in_chans: channels of each image; other than 1 and 3 needs `.npy` or `.tiff` files.
        pipeline: transforms, each a config or a callable from an image (C, H, W) to an image (C, H, W).
        with_labels: give each sample the `label` of its class, the first folder below the root in sorted order.
        max_broken: largest share of broken files that is tolerated, 0 to 1.
        limit: use only this many files, evenly spaced over the names in order; all by default.
        backend: what decodes and resizes photographs; see `decode_image`. "pillow" gives the published MAE pipeline to
            the bit, at half the speed or less.
        seed: seed of the augmentation where no sampler hands over a key.

    Attributes:
        files: the files in use.
        classes: names of the classes; empty without labels.
        holds_floats: the files tried first hold other than 8-bit values; then every image is float32.

    Raises:
        UsageError: a nonsensical argument, more broken files than `max_broken` in a probe of the files, or with labels
            images outside of class folders or one class only.
    """

    def __init__(
        self,
        files: Files,
        in_chans: int,
        pipeline: Sequence[Any],
        with_labels: bool,
        max_broken: float,
        limit: int | None,
        backend: str,
        seed: int,
    ) -> None:
        super().__init__(pipeline, seed)
        _check(type(self).__name__, in_chans, max_broken, limit)
        self.in_chans = in_chans
        self.max_broken = max_broken
        self.backend = check_backend(backend)
        self.holds_floats = False  # until a file that is tried does
        self.files = files
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
            over, empty as a rule; with labels `label`, that of the file which was read.

        Raises:
            UsageError: 100 files in a row, or all there are, cannot be read.
        """
        return self._first_readable(index, lambda stored: {**stored, "inputs": decoded(stored["inputs"])})

    def crops_of(self, index: int, keys: Sequence[int]) -> list[dict[str, Any]]:
        """Return a sample for each of `keys`, all of the image at `index` or of the next that can be read."""
        return self._first_readable(index, lambda stored: self.augment(stored, index, keys))

    def _first_readable(self, index: int, use: Callable[[dict[str, Any]], Any]) -> Any:
        # A photograph is decoded only when it is used, so using it is part of the trial.
        skipped: list[str] = []
        for step in range(min(_MAX_IN_A_ROW, len(self))):
            position = (index + step) % len(self)
            try:
                return use({**self.stored(position), "skipped": "\n".join(skipped)})
            except UnreadableImage as error:
                skipped.append(str(error))
        raise UsageError(
            f"{len(skipped)} files in a row cannot be read, the first is {skipped[0]}: check the disk and the files, "
            f"and that in_chans={self.in_chans} is what they hold."
        )

    def stored(self, index: int) -> dict[str, Any]:
        """Return `inputs`, the image at `index`, a photograph undecoded; with labels its `label`.

        Raises:
            UnreadableImage: the file cannot be read.
        """
        sample = {"inputs": self._of_one_type(self._open(index), index)}
        return sample if self.labels is None else {**sample, "label": int(self.labels[index])}

    def _open(self, index: int) -> EncodedImage | Tensor:
        return open_image(self.files.read(index), self.files.path(index), self.in_chans, self.backend)

    def _of_one_type(self, image: EncodedImage | Tensor, index: int) -> EncodedImage | Tensor:
        # One type, so that a batch can be stacked.
        if self.holds_floats:
            return decoded(image).float()
        if isinstance(image, Tensor) and image.dtype == torch.float32:
            raise UnreadableImage(
                self.files.path(index), "it holds other than 8-bit values, unlike the files tried first"
            )
        return image

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
            image = decoded(self._open(index))
        except UnreadableImage as error:
            return str(error)
        self.holds_floats |= image.dtype == torch.float32
        return ""


def _check(name: str, in_chans: int, max_broken: float, limit: int | None) -> None:
    if in_chans < 1:
        raise UsageError(f"{name} got in_chans={in_chans}: give the number of channels, at least 1.")
    if not 0 <= max_broken <= 1:
        raise UsageError(f"{name} got max_broken={max_broken}: give a share from 0 to 1.")
    if limit is not None and limit < 1:
        raise UsageError(f"{name} got limit={limit}: give a number of files, at least 1, or None for all.")


def _classes_of(files: Files) -> tuple[tuple[str, ...], np.ndarray]:
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
