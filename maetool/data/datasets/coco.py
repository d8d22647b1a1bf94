"""Images whose objects a COCO annotation file names."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from maetool.annotations import Count
from maetool.data.codecs.encoded import size_of
from maetool.data.codecs.image_size import DECODED_BYTES, MAX_PIXELS, RAISE_LIMIT
from maetool.data.codecs.images import UnreadableImage
from maetool.data.codecs.options import ReadOptions
from maetool.data.objects import Objects
from maetool.data.sources.base import Source
from maetool.data.sources.file_index import FileIndex
from maetool.errors import UsageError
from maetool.registry import DATASETS

from .detection import ObjectDataset
from .file_dataset import FileDataset
from .objects.cache import cached_coco
from .objects.coco_file import CocoFile, Id
from .objects.masks import decode_mask
from .objects.paths import listed_images, locate
from .subsets import Subset


@DATASETS.register_module()
class CocoDataset(ObjectDataset, FileDataset):
    """The images of a COCO annotation file, or of a folder of YOLO's or Pascal VOC's, with their objects.

    An image without objects stays, as background. Annotations of crowds, of boxes without area and, where masks are
    wanted, without an outline that can be drawn are not trained on; `describe` counts them. Names of files may be those
    of another machine, see `locate`. An image of another size than the file says counts as broken.

    Args:
        root: folder of the images.
        annotations: the annotation file, or the folder with a file for each image, see `cached_coco`.
        in_chans, pipeline, max_broken, backend, seed, max_pixels: see `FileDataset`; all masks of an image together
            have at most 4 bytes for each of `max_pixels`.
        exif, eight_bit: see `ReadOptions`; boxes and masks are for the pictures as `exif` turns them.
        with_masks: the samples have masks; without, boxes alone.
        part: "train" and "val" are four and one fifth of the images, "all" both.
        limit: use only this many images, evenly spaced.
        names: text file with the name or path of an image a line, with or without its ending; only these are used.

    Raises:
        UsageError: see `cached_coco`, `locate` and `listed_images`; no object to learn from, or half of the objects or
            more without an outline where masks are wanted.
    """

    def __init__(
        self,
        root: str | Path,
        annotations: str | Path,
        in_chans: Count = 3,
        pipeline: Sequence[Any] = (),
        with_masks: bool = True,
        max_broken: float = 0.1,
        part: str = "all",
        limit: int | None = None,
        backend: str = "cv2",
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
        exif: bool = False,
        eight_bit: bool = False,
        names: str | Path | None = None,
    ) -> None:
        self.source, self.with_masks = cached_coco(annotations, images=root), with_masks
        folder = os.path.abspath(os.path.expanduser(root))
        located = locate(folder, self.source.files, annotations)
        files: Source = FileIndex(folder, located.names)
        numbers = range(len(files)) if names is None else listed_images(names, located.names, folder)
        files = files if names is None else files.take(numbers)
        subset = Subset(part, limit, seed=seed)
        # where each image stands in the file
        self.numbers = [numbers[place] for place in subset.choose(len(files), None).tolist()]
        self._renamed = located.describe()
        self._learned = self.source.learned(with_masks)
        _check_objects(self.source, with_masks)
        options = ReadOptions(exif, eight_bit)
        super().__init__(files, in_chans, pipeline, None, subset, max_broken, backend, seed, max_pixels, options)
        self.classes = self.source.classes
        self.metainfo = {"classes": tuple(self.classes)}

    def stored(self, index: int) -> dict[str, Any]:
        """Return `inputs`, the image at `index`, a photograph undecoded, and its `objects`.

        Raises:
            UnreadableImage: the file cannot be read, or is of another size than the annotation file says.
        """
        sample = super().stored(index)
        height, width = size_of(sample["inputs"])
        rows, columns = self.source.sizes[self.numbers[index]].tolist()
        if (height, width) != (rows, columns):
            turn = "; if its EXIF turns it, set dataset.exif=True" if (height, width) == (columns, rows) else ""
            raise UnreadableImage(
                self.files.path(index),
                f"it has {height} x {width} pixels, but its annotations are for {rows} x {columns}{turn}",
            )
        return {**sample, "objects": self._objects(index, (rows, columns))}

    def _objects(self, index: int, size: tuple[int, int]) -> Objects:
        places = [place for place in self.source.places(self.numbers[index]) if self._learned[place]]
        boxes = torch.tensor(self.source.boxes[places], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor(self.source.labels[places], dtype=torch.int64)
        masks = None
        if self.with_masks:
            self._check_masks_fit(index, len(places), size)
            masks = torch.zeros(len(places), *size, dtype=torch.bool)
            for row, place in enumerate(places):
                masks[row] = decode_mask(self.source.outline(place), size)
        return Objects(boxes, labels, masks)

    def _check_masks_fit(self, index: int, number: int, size: tuple[int, int]) -> None:
        if number * size[0] * size[1] > DECODED_BYTES * self.max_pixels:
            raise UnreadableImage(
                self.files.path(index),
                f"the masks of its {number:,} objects have more than {DECODED_BYTES} bytes for each of max_pixels="
                f"{self.max_pixels:,}: {RAISE_LIMIT}, or take boxes alone",
            )

    def image_id(self, index: int) -> Id:
        """Return the id of the image at `index` in the annotation file."""
        return self.source.image_ids[self.numbers[index]]

    def most_objects(self) -> int:
        """Return the largest number of objects that an image in use has."""
        return max(int(self._learned[self.source.places(number)].sum()) for number in self.numbers)

    def coco(self) -> dict[str, Any]:
        """Return what the annotation file says about the images in use, crowds and all; see `CocoFile.entries`."""
        return self.source.entries(self.numbers, self.with_masks)

    def category_ids(self) -> list[Id]:
        """Return the category id of each label."""
        return self.source.category_ids

    def describe(self) -> str:
        """Return sentences on the objects of the images in use."""
        return self.source.describe(self.numbers, self.with_masks) + self._renamed


def _check_objects(source: CocoFile, with_masks: bool) -> None:
    """Check that there is something to learn from, with outlines where masks are wanted."""
    drawable = source.learned(True)
    objects = source.learned(False)
    missing = int((objects & ~drawable).sum())
    if with_masks and missing and 2 * missing >= objects.sum():
        raise UsageError(
            f"{source.path}: {missing:,} of {objects.sum():,} objects have no outline that can be drawn (first: "
            f"{source.first_undrawn}): use a model of boxes alone with model.with_masks=False, or correct the "
            "outlines."
        )
    if not objects.any():
        raise UsageError(
            f"{source.path}: none of its {len(source.labels):,} annotations is an object that can be learned from: "
            f"{source.crowd.sum():,} are of crowds, {source.flat.sum():,} have a box of no area inside of their image; "
            "check iscrowd and bbox."
        )
