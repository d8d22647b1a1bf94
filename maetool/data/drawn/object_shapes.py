"""The drawn pictures of `ShapesDataset` with the boxes and masks of their objects."""

from collections.abc import Sequence
from typing import Any

import torch

from maetool.annotations import Count, Size
from maetool.data.datasets.detection import ObjectDataset
from maetool.data.objects import Objects
from maetool.registry import DATASETS

from .scene import OUTLINES
from .shapes import ShapesDataset


@DATASETS.register_module()
class ObjectShapesDataset(ObjectDataset, ShapesDataset):
    """`ShapesDataset` with objects as truth: their outlines are the classes, boxes and masks are of what is visible.

    The same (seed, index) is the same picture as there.

    Args:
        num_samples, img_size, in_chans, seed, cache: see `ShapesDataset`.
        pipeline: see `ImageDataset`.
        with_masks: the samples have masks; without, boxes alone.
    """

    metainfo = {"classes": tuple(OUTLINES)}

    def __init__(
        self,
        num_samples: Count,
        img_size: Size,
        in_chans: Count = 3,
        seed: int = 0,
        pipeline: Sequence[Any] = (),
        cache: bool = True,
        with_masks: bool = True,
    ) -> None:
        super().__init__(num_samples, img_size, in_chans, seed, pipeline, cache)
        self.with_masks = with_masks
        self.classes, self.labels = list(OUTLINES), None  # an image has no one class here
        self._known: dict[int, Objects] | None = {} if cache else None

    def load(self, index: int) -> dict[str, Any]:
        """Return `inputs`, uint8 (C, H, W), and `objects`.

        Raises:
            IndexError: no sample has this index.
        """
        inputs = super().load(index)["inputs"]
        if self._known is None:
            return {"inputs": inputs, "objects": self._objects(index)}
        if index not in self._known:
            self._known[index] = self._objects(index)
        # A copy, because a transform may work in place.
        known = {k: None if v is None else v.clone() for k, v in vars(self._known[index]).items()}
        return {"inputs": inputs, "objects": Objects(**known)}

    def _objects(self, index: int) -> Objects:
        scene = self.scene(index)
        boxes, labels, masks = (torch.from_numpy(values) for values in (scene.boxes, scene.box_labels, scene.masks))
        return Objects(boxes, labels, masks if self.with_masks else None)
