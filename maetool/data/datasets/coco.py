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
from maetool.data.objects import Objects
from maetool.data.sources.file_index import FileIndex
from maetool.data.sources.packed_names import Names
from maetool.errors import UsageError
from maetool.registry import DATASETS

from .coco_file import CocoFile, read_coco
from .coco_masks import decode_mask
from .detection import ObjectDataset
from .file_dataset import FileDataset
from .subsets import Subset


@DATASETS.register_module()
class CocoDataset(ObjectDataset, FileDataset):
    """The images of a COCO annotation file with their objects.

    An image without objects stays, as background. Annotations of crowds are not trained on, and those of boxes without
    area are not either; `describe` counts both. An image of another size than the file says counts as broken.

    Args:
        root: folder of the images.
        annotations: the annotation file.
        in_chans, pipeline, max_broken, backend, seed, max_pixels: see `FileDataset`; all masks of an image together
            have at most 4 bytes for each of `max_pixels`.
        with_masks: the samples have masks; without, boxes alone.
        part: "train" and "val" are four and one fifth of the images, "all" both.
        limit: use only this many images, evenly spaced.

    Raises:
        UsageError: see `read_coco`; images that are not there, or objects without a segmentation where masks are
            wanted.
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
    ) -> None:
        self.source, self.with_masks = read_coco(annotations), with_masks
        folder = os.path.abspath(os.path.expanduser(root))
        names = [entry["file_name"] for entry in self.source.content["images"]]
        _check_images(folder, names, annotations)
        if with_masks:
            _check_masks(self.source)
        files = FileIndex(folder, Names.of([os.fsencode(name) for name in names]))
        subset = Subset(part, limit, seed=seed)
        self.numbers = subset.choose(len(names), None).tolist()  # where each image stands in the file
        super().__init__(files, in_chans, pipeline, None, subset, max_broken, backend, seed, max_pixels)
        self.classes = self.source.classes
        self.metainfo = {"classes": tuple(self.classes)}

    def stored(self, index: int) -> dict[str, Any]:
        """Return `inputs`, the image at `index`, a photograph undecoded, and its `objects`.

        Raises:
            UnreadableImage: the file cannot be read, is of another size than the annotation file says, or has a
                segmentation that cannot be read.
        """
        sample = super().stored(index)
        entry = self._entry(index)
        found, size = size_of(sample["inputs"]), (entry["height"], entry["width"])
        if found != size:
            raise UnreadableImage(
                self.files.path(index),
                f"it has {found[0]} x {found[1]} pixels, but its annotations are for {size[0]} x {size[1]}",
            )
        return {**sample, "objects": self._objects(index, size)}

    def _objects(self, index: int, size: tuple[int, int]) -> Objects:
        found = self.source.objects[self.numbers[index]]
        boxes = torch.tensor([annotation["bbox"] for annotation in found], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([self.source.label_of[annotation["category_id"]] for annotation in found]).long()
        masks = None
        if self.with_masks:
            self._check_masks_fit(index, len(found), size)
            masks = torch.zeros(len(found), *size, dtype=torch.bool)
            for place, annotation in enumerate(found):
                try:
                    masks[place] = decode_mask(annotation["segmentation"], size)
                except ValueError as error:
                    reason = f"annotation {annotation['id']}: {error}"
                    raise UnreadableImage(self.files.path(index), reason) from error
        return Objects(boxes, labels, masks)

    def _check_masks_fit(self, index: int, number: int, size: tuple[int, int]) -> None:
        if number * size[0] * size[1] > DECODED_BYTES * self.max_pixels:
            raise UnreadableImage(
                self.files.path(index),
                f"the masks of its {number:,} objects have more than {DECODED_BYTES} bytes for each of max_pixels="
                f"{self.max_pixels:,}: {RAISE_LIMIT}, or take boxes alone",
            )

    def _entry(self, index: int) -> dict[str, Any]:
        return self.source.content["images"][self.numbers[index]]

    def image_id(self, index: int) -> int:
        """Return the id of the image at `index` in the annotation file."""
        return self._entry(index)["id"]

    def coco(self) -> dict[str, Any]:
        """Return what the annotation file says about the images in use, crowds and all."""
        if len(self) == len(self.source.objects):
            return self.source.content
        used = {self.image_id(index) for index in range(len(self))}
        content = self.source.content
        return {
            "categories": content["categories"],
            "images": [entry for entry in content["images"] if entry["id"] in used],
            "annotations": [entry for entry in content["annotations"] if entry["image_id"] in used],
        }

    def category_ids(self) -> list[int]:
        """Return the category id of each label."""
        return list(self.source.label_of)

    def describe(self) -> str:
        """Return a sentence on the objects of the images in use."""
        return self.source.describe(self.numbers)


def _check_images(root: str, names: Sequence[str], annotations: str | Path) -> None:
    if not os.path.isdir(root):
        raise UsageError(f"There is no folder {root}: set root to the folder of the images of {annotations}.")
    missing = [name for name in names if not os.path.isfile(os.path.join(root, name))]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(names)} images that {annotations} lists are not in {root} (first: {missing[0]}): "
            "set root to their folder, or remove them from the file."
        )


def _check_masks(source: CocoFile) -> None:
    for found in source.objects:
        for annotation in found:
            if not annotation.get("segmentation"):
                raise UsageError(
                    f"{source.path}: annotation {annotation['id']} has no segmentation: take a model of boxes alone "
                    "with model.with_masks=False, or add the outlines."
                )
