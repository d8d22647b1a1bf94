"""Images with objects: a dataset of them, and their batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.registry import FUNCTIONS

from maetool.data.collate import collate_samples
from maetool.data.objects import Objects as Objects  # also the names that users of datasets look for here
from maetool.data.objects import Picture as Picture
from maetool.data.objects import boxes_of as boxes_of
from maetool.data.transforms.sample import KINDS, Sample, entries_of, objects_in

from .base import ImageDataset
from .objects.masks import encode_mask


class ObjectDataset(ImageDataset):
    """Images with objects. A subclass writes `__len__` and `load`, whose samples have `objects`, and sets `classes`.

    A sample holds `inputs` (C, H, W), `objects`, `content`, the rows and columns of `inputs` that show the image, and
    `original_size`, its rows and columns as it was loaded. `classes` names the classes of the objects; `with_masks`
    says whether there are masks.

    Raises:
        UsageError: a transform that would change the image alone.
    """

    moves = ("objects",)
    with_masks = True
    collate = "collate_objects"

    def coco(self) -> dict[str, Any]:
        """Return the true objects as COCO's annotation file has them, for images as they are loaded."""
        images, annotations = [], []
        for index in range(len(self)):
            sample = self.load(index)
            height, width = sample["inputs"].shape[1:]
            name = f"{self.name_of(index)}.png"
            images.append({"id": self.image_id(index), "file_name": name, "height": height, "width": width})
            annotations += self._annotations(sample["objects"], self.image_id(index), len(annotations) + 1)
        ids = enumerate(self.classes)
        categories = [{"id": self.category_ids()[label], "name": name} for label, name in ids]
        return {"images": images, "annotations": annotations, "categories": categories}

    def image_id(self, index: int) -> int | str:
        """Return the id that the image at `index` has in `coco`."""
        return index

    def category_ids(self) -> Sequence[int | str]:
        """Return the id that each class has in `coco`."""
        return list(range(1, len(self.classes) + 1))

    def describe(self) -> str:
        """Return a sentence on the objects."""
        return f"{len(self):,} images with objects of {len(self.classes)} classes."

    def warning_of(self, model: Any) -> str:
        """Return a sentence on what a model cannot give that the data holds, empty if there is nothing."""
        most, number = self.most_objects(), getattr(model, "max_detections", None)
        if number is None or most <= number:
            return ""
        return (
            f"An image has {most:,} objects, but the model finds {number:,} at most, so some can never be found: "
            f"--cfg-options model.max_detections={most} raises the number, in the scores too."
        )

    def most_objects(self) -> int:
        """Return the largest number of objects of an image where that is known without loading all, or else 0."""
        return 0

    def _annotations(self, objects: Objects, image_id: int | str, first: int) -> list[dict[str, Any]]:
        entries, ids = [], self.category_ids()
        for place, (label, box) in enumerate(zip(objects.labels.tolist(), objects.boxes.tolist(), strict=True)):
            left, top, right, bottom = box
            entry = {"id": first + place, "image_id": image_id, "category_id": ids[label], "iscrowd": 0}
            entry |= {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
            if objects.masks is not None:
                entry |= {"area": int(objects.masks[place].sum()), "segmentation": encode_mask(objects.masks[place])}
            entries.append(entry)
        return entries

    def truth_of(self, stored: Mapping[str, Any], size: tuple[int, int]) -> Sample:
        """Return the entries of the objects, and what other datasets have."""
        return {**super().truth_of(stored, size), **entries_of(stored["objects"], size)}

    def finished(self, sample: Sample, size: tuple[int, int]) -> dict[str, Any]:
        """Return `inputs`, `objects`, `content` and `original_size`."""
        rest = {name: value for name, value in sample.items() if name not in KINDS["objects"]}
        objects, content = objects_in(sample), torch.tensor(sample["content"])
        sizes = {"content": content, "original_size": torch.tensor(size)}
        return {**super().finished(rest, size), "objects": objects, **sizes}


@FUNCTIONS.register_module()
def collate_objects(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the batch of some samples of an `ObjectDataset`.

    Returns:
        `targets`, a list of B dicts of `boxes`, `labels` and, where there are any, `masks` as in `Objects`, because
        images have different numbers of objects; everything else stacked, `inputs` as (B, C, H, W).
    """
    rest = collate_samples([{name: v for name, v in sample.items() if name != "objects"} for sample in samples])
    objects = [vars(sample["objects"]) for sample in samples]
    return {**rest, "targets": [{name: v for name, v in each.items() if v is not None} for each in objects]}
