"""What is where in an image: boxes, classes and masks, and the pictures of them that transforms change."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from maetool._deprecated import moved


@dataclass(frozen=True)
class Objects:
    """The N objects of an image.

    Attributes:
        boxes: float32 (N, 4), left, top, right, bottom in pixels; right and bottom are exclusive.
        labels: int64 (N,), from 0 to K - 1.
        masks: bool (N, H, W), True on the object; None where only boxes are known or wanted.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor | None

    def __len__(self) -> int:
        return len(self.boxes)

    def moved(self, boxes: Tensor, change: Callable[[Tensor], Tensor]) -> "Objects":
        """Return the objects with other boxes, and their masks, where there are any, changed.

        Args:
            boxes: (N, 4), corners in pixels.
            change: from masks bool (N, H, W) to masks.
        """
        return Objects(boxes, self.labels, None if self.masks is None else change(self.masks))

    def in_sight(self, size: tuple[int, int]) -> "Objects":
        """Return what is left of the objects in an image of `size` (H, W): masks decide, or else boxes of a pixel."""
        if self.masks is not None:
            seen = self.masks.flatten(1).any(dim=1)
            return Objects(boxes_of(self.masks[seen]), self.labels[seen], self.masks[seen])
        from torchvision.ops import clip_boxes_to_image, remove_small_boxes  # a second long, which few need

        boxes = clip_boxes_to_image(self.boxes, size)
        seen = remove_small_boxes(boxes, 1.0)
        return Objects(boxes[seen], self.labels[seen], None)


def boxes_of(masks: Tensor) -> Tensor:
    """Return the smallest boxes, float32 (N, 4), that hold the True pixels of masks (N, H, W), none of them empty."""
    if not len(masks):
        return torch.zeros(0, 4)
    from torchvision.ops import masks_to_boxes

    return masks_to_boxes(masks).float() + torch.tensor([0.0, 0.0, 1.0, 1.0])  # torchvision's ends are inclusive


@dataclass(frozen=True)
class Picture:
    """An image and its objects, as transforms of 0.1 have them; those of today have a dict, see `SampleTransform`.

    Attributes:
        image: (C, H, W).
        objects: what is where in it.
        content: rows and columns from the upper left corner that show the image; the rest is padding.
    """

    image: Tensor
    objects: Objects
    content: tuple[int, int]


__getattr__ = moved(
    __name__,
    {
        "ObjectDataset": "maetool.data.datasets.detection.ObjectDataset",
        "collate_objects": "maetool.data.datasets.detection.collate_objects",
    },
    "0.3.0",
)
