"""Images with a PNG of classes each, in folders as those of ADE20K, Cityscapes and Pascal VOC."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.data.codecs.encoded import size_of
from maetool.data.codecs.image_size import MAX_PIXELS, chosen_limit
from maetool.data.codecs.images import UnreadableImage
from maetool.data.codecs.options import ReadOptions
from maetool.data.sources.base import Source
from maetool.data.sources.file_index import HOW_TO_SET, FileIndex
from maetool.data.sources.windows import WindowSource
from maetool.errors import UsageError
from maetool.messages import plural
from maetool.ops.geometry import format_size
from maetool.reading import read_text
from maetool.registry import DATASETS

from .dense import DenseDataset
from .file_dataset import FileDataset
from .masks.files import MaskFiles
from .masks.files import read_index_png as read_index_png
from .masks.pairs import Place, paired_files
from .masks.palettes import Palettes
from .masks.values import LOOKED_AT, MaskValues
from .subsets import Subset, evenly_spaced

CLASSES_FILE = "classes.txt"


@DATASETS.register_module()
class SegmentationDataset(DenseDataset, FileDataset):
    """Images and, under the same names in another folder, PNGs whose values are the classes of the pixels.

    An image counts as broken if it or its PNG cannot be read, or if their sizes differ.

    Args:
        root: folder of the data set.
        images, annotations: folders below the root, searched to any depth.
        image_suffix, annotation_suffix: what follows the name that an image and its PNG share.
        names: text file below the root that lists the names to use, one a line; None, all there are.
        classes: names of the K classes; None, the lines of `classes.txt` in the root.
        palette: K colours (R, G, B), 0 to 255, for pictures; None, those of Pascal VOC.
        zero_is_ignored: the PNGs count classes from 1, and 0 counts nothing, as in ADE20K.
        ignore_index: value of pixels that count nothing, in the PNGs and in the samples.
        in_chans, max_broken, backend, seed: see `FileDataset`.
        max_pixels: most pixels of an image and of its PNG; see `FileDataset`.
        exif, eight_bit: see `ReadOptions`; `exif` turns images and PNGs, each as it says itself.
        pipeline: see `DenseDataset`.
        limit: use only this many images, or windows, evenly spaced.
        window: height and width of windows, which are the samples in the place of complete images: of large pictures
            and maps, see `WindowSource`, whose names the samples have. None, the images themselves.
        stride: from window to window; None, `window`. The last ones of a row or column may overlap.

    Raises:
        UsageError: a folder or list that is not there, no images, an image without a PNG or a PNG without an image, or
            more broken files than `max_broken` in a probe of them.
    """

    def __init__(
        self,
        root: str | Path,
        images: str = "images/training",
        annotations: str = "annotations/training",
        image_suffix: str = ".jpg",
        annotation_suffix: str = ".png",
        names: str | None = None,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        zero_is_ignored: bool = False,
        ignore_index: int = 255,
        in_chans: Count = 3,
        pipeline: Sequence[Any] = (),
        max_broken: float = 0.1,
        limit: int | None = None,
        backend: str = "cv2",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
        exif: bool = False,
        eight_bit: bool = False,
        window: Size | None = None,
        stride: Size | None = None,
    ) -> None:
        self.root, self.zero_is_ignored, self.ignore_index = Path(root).expanduser(), zero_is_ignored, ignore_index
        if isinstance(classes, str):
            raise UsageError(f"classes is {classes!r}, a word, but must be a list of the names of two or more classes.")
        listed = list(classes) if classes else read_classes(self.root)
        if palette is not None and len(palette) != len(listed):
            raise UsageError(f"palette has {len(palette)} colours, but there are {len(listed)} classes.")
        self._num_classes = len(listed)
        places = self.root / images, self.root / annotations
        self._shared = Place(places[0], image_suffix, "image_suffix", "image")
        masks = Place(places[1], annotation_suffix, "annotation_suffix", "PNG of classes")
        pictures, truths = paired_files(self._shared, masks, None if names is None else self.root / names)
        subset, options = Subset(limit=limit, seed=seed), ReadOptions(exif, eight_bit)
        files: Source
        files, truth = (FileIndex(os.path.abspath(p), n) for p, n in zip(places, (pictures, truths), strict=True))
        most = chosen_limit(max_pixels)
        windows = None if window is None else WindowSource(files, window, stride, max_pixels=most)
        if windows is None and stride is not None:
            raise UsageError(f"stride is {stride}, but there are no windows: set dataset.window, too.")
        files = files if windows is None else windows
        self._masks = MaskFiles(truth, subset.choose(len(files), None), most, exif, windows)
        super().__init__(files, in_chans, pipeline, None, subset, max_broken, backend, seed, max_pixels, options)
        self.classes = listed
        self.metainfo = {"classes": tuple(listed), **({"palette": palette} if palette else {})}

    def stored(self, index: int) -> dict[str, Any]:
        """Return `inputs`, (C, H, W), a photograph undecoded, and `semantic`, int64 (H, W), classes or `ignore_index`.

        Raises:
            UnreadableImage: the image or its PNG cannot be read, or they differ in size.
            UsageError: the PNG holds classes beyond the list.
        """
        sample = super().stored(index)
        path, found, values = self._masks.path(index), size_of(sample["inputs"]), self._masks.read(index)
        if values.shape != found:
            reason = (
                f"it has {format_size(values.shape)} pixels, but its image {self.files.path(index)} has "
                f"{format_size(found)}"
            ) + ("; if its EXIF turns it, set dataset.exif=True" if values.shape == tuple(found[::-1]) else "")
            raise UnreadableImage(path, reason)
        return {**sample, "semantic": self._classes_of(values, path)}

    def describe(self) -> str:
        """Return sentences on the number of images, and on the share of each class in some of the masks.

        Raises:
            UsageError: there is nothing to learn, see `MaskValues.check`, or the palettes of masks differ.
        """
        self.values.check()
        return f"{super().describe()} {self.values.describe()}"

    def warning_of(self, model: object) -> str:
        """Return a sentence on classes that do not occur, whatever the `model`; see `MaskValues.warning`."""
        return self.values.warning()

    @cached_property
    def values(self) -> MaskValues:
        """The values of the pixels in a bounded number of masks; those that cannot be read are left out."""
        counts, read, palettes = np.zeros(256, np.int64), 0, Palettes()
        for index in evenly_spaced(len(self), LOOKED_AT).tolist():
            try:
                values = self._masks.read(index)
            except UnreadableImage:
                continue
            palettes.add(self._masks.path(index), values)
            found = np.bincount(values.ravel())
            longest = max(len(counts), len(found))
            counts = np.pad(counts, (0, longest - len(counts))) + np.pad(found, (0, longest - len(found)))
            read += 1
        return MaskValues(counts, read, len(self), self.classes, self.zero_is_ignored, self.ignore_index)

    def name_of(self, index: int) -> str:
        """Return the name that the image at `index` and its PNG share, and that of the window."""
        file, mark, window = self.files.relative(index), "", ""
        if self._masks.images is not None:
            file, mark, window = file.rpartition("#")
        return f"{self._shared.name_of(file)}{mark}{window}"

    @property
    def names(self) -> list[str]:
        """The names that images and their PNGs share."""
        return [self.name_of(index) for index in range(len(self))]

    def _classes_of(self, values: np.ndarray, path: str) -> Tensor:
        ignored = values == self.ignore_index
        if self.zero_is_ignored:
            ignored, values = ignored | (values == 0), values - 1
        highest = int(values[~ignored].max()) if not ignored.all() else 0
        if highest >= self._num_classes:
            first = int(self.zero_is_ignored)
            raise UsageError(
                f"{path} holds the class {highest + first}, but the {self._num_classes} classes are numbered from "
                f"{first} to {self._num_classes - 1 + first}, and {self.ignore_index} is ignored: correct the file, "
                "classes, zero_is_ignored or ignore_index."
            )
        return torch.from_numpy(np.where(ignored, self.ignore_index, values))


def read_classes(root: Path) -> list[str]:
    """Return the names of the classes that `classes.txt` in `root` lists, one a line.

    Raises:
        UsageError: there is no such file, or it lists fewer than two.
    """
    path = root / CLASSES_FILE
    names = read_text(path, "one name of a class a line").splitlines() if path.is_file() else []
    names = [name.strip() for name in names if name.strip()]
    if len(names) < 2:
        found = f"lists {plural(len(names), 'class')}" if path.is_file() else "does not exist"
        raise UsageError(
            f"{path} {found}, but the names of two or more classes are needed: write one name a line, in the order of "
            "their numbers, or set dataset.classes; if the folder is wrong, " + HOW_TO_SET + "."
        )
    return names
