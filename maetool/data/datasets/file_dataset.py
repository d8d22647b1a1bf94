"""What the datasets of files share: broken files are passed over and reported, labels come from the folders."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from maetool.data.codecs.encoded import EncodedImage, decoded, open_image
from maetool.data.codecs.image_size import chosen_limit, most_bytes
from maetool.data.codecs.images import UnreadableImage, check_backend
from maetool.data.codecs.options import AS_STORED, ReadOptions
from maetool.data.codecs.remarks import Remarks
from maetool.data.sources.base import Labels, Measurements, Source
from maetool.data.sources.paired import pairing_hint
from maetool.errors import UsageError

from .base import DEBUG_SAMPLES, ImageDataset
from .broken_files import too_many
from .subsets import Subset, evenly_spaced

# The second number settles it: among 32 files, four broken ones can be bad luck.
_PROBES = (32, 320)
_MAX_IN_A_ROW = 100


class FileDataset(ImageDataset):
    """Images in files; a subclass says where they are.

    A file that cannot be read is replaced by the next that can, and the sample says so in `skipped`; `BrokenFiles`
    gathers these in the main process.

    Args:
        files: where their bytes come from.
        in_chans: channels of each image; other than 1 and 3 needs `.npy` or `.tiff` files.
        pipeline: transforms, each a config or a callable from an image (C, H, W) to an image (C, H, W).
        labels: the labels of all files, which give each sample its `label`; None for none.
        subset: which of the files are used.
        max_broken: largest share of broken files that is tolerated, 0 to 1.
        backend: what decodes and resizes photographs; see `decode_image`. "pillow" gives the published MAE pipeline to
            the bit, at half the speed or less.
        seed: seed of the augmentation where no sampler hands over a key.
        max_pixels: most pixels of an image, and 4 bytes for each of so many; a larger one counts as broken. A file may
            have 8 bytes for each and 16 MiB; see `decode_image`.
        options: how images are read, see `ReadOptions`.

    Attributes:
        files: those in use.
        targets: names of the numbers to predict; empty without them.
        limited: whether `limit` leaves images out, so that classes may have none.
        holds_floats: the files tried first hold other than 8-bit values; then every image is float32.

    Raises:
        UsageError: a nonsensical argument, or more broken files than `max_broken` in a probe of the files.
    """

    files_in = "root"
    # Of so few images nothing would be left to choose among labels.
    debug_arguments: ClassVar = {"limit": DEBUG_SAMPLES, "labels_fraction": ..., "labels_per_class": ...}

    def __init__(
        self,
        files: Source,
        in_chans: int,
        pipeline: Sequence[Any],
        labels: Labels | Measurements | None,
        subset: Subset,
        max_broken: float,
        backend: str,
        seed: int,
        max_pixels: int,
        options: ReadOptions = AS_STORED,
    ) -> None:
        super().__init__(pipeline, seed)
        _check(type(self).__name__, in_chans, max_broken)
        self.max_pixels = chosen_limit(max_pixels)
        self.in_chans, self.options = in_chans, options
        self.max_broken = max_broken
        self.backend = check_backend(backend)
        self.targets: list[str] = []
        self.holds_floats = False  # until a file that is tried does
        classes = labels if isinstance(labels, Labels) else None
        chosen = subset.choose(len(files), classes and classes.values, files.groups(), files.held_out())
        self.limited = subset.limit is not None and subset.limit < len(files)
        if isinstance(labels, Measurements):
            self.targets, self.labels = labels.names, labels.values[chosen]
            self.metainfo = {"targets": tuple(labels.names)}
        elif labels:
            self.classes, self.labels = labels.classes, labels.values[chosen]
            self.metainfo = {"classes": tuple(labels.classes)}
        self.files = files.take(chosen.tolist()) if len(chosen) < len(files) else files
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
            IndexError: no image has this index.
        """
        return self._first_readable(index, lambda stored: {**stored, "inputs": decoded(stored["inputs"])})

    def crops_of(self, index: int, keys: Sequence[int]) -> list[dict[str, Any]]:
        """Return a sample for each of `keys`, all of the image at `index` or of the next that can be read."""
        return self._first_readable(index, lambda stored: self.augment(stored, index, keys))

    def _first_readable(self, index: int, use: Callable[[dict[str, Any]], Any]) -> Any:
        # A photograph is decoded only when it is used, so using it is part of the trial.
        skipped: list[str] = []
        count = len(self)
        index = range(count)[index]  # an IndexError ends a loop over the dataset
        for step in range(min(_MAX_IN_A_ROW, count)):
            position = (index + step) % count
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
        if self.labels is None:
            return sample
        label = self.labels[index]
        return {**sample, "label": label if label.ndim else int(label)}

    def name_of(self, index: int) -> str:
        """Return the path of the image at `index` as seen from the root."""
        return self.files.relative(index)

    def _open(self, index: int) -> EncodedImage | Tensor:
        path, data = self.files.read(index, most_bytes(self.max_pixels))
        return self._opened(data, path)

    def _opened(self, data: bytes, path: str) -> EncodedImage | Tensor:
        return open_image(data, path, self.in_chans, self.backend, self.max_pixels, self.options)

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
            tried = evenly_spaced(len(self), count).tolist()
            count, self._remarks = len(tried), Remarks(self.options)
            broken = [reason for index in tried if (reason := self._reason(index))]
            if not too_many(len(broken), len(broken), count, self.max_broken):
                self._remarks.log(self.files.root)
                return
        raise UsageError(
            f"{len(broken)} of {count} files that were tried in {self.files.root} cannot be read, more than "
            f"max_broken={self.max_broken:g} allows: {'; '.join(broken[:3])}. Repair or remove them, set in_chans to "
            f"what they hold, or give a larger max_broken.{pairing_hint(self.files)}"
        )

    def _reason(self, index: int) -> str:
        try:
            path, data = self.files.read(index, most_bytes(self.max_pixels))
            image = decoded(self._opened(data, path))
            self._remarks.note(data, image)
            self.holds_floats |= image.dtype == torch.float32
            self.stored(index)  # reads what belongs to the image, too
        except UnreadableImage as error:
            return str(error)
        return ""


def _check(name: str, in_chans: int, max_broken: float) -> None:
    if in_chans < 1:
        raise UsageError(f"{name} got in_chans={in_chans}: give the number of channels, at least 1.")
    if not 0 <= max_broken <= 1:
        raise UsageError(f"{name} got max_broken={max_broken}: give a share from 0 to 1.")
