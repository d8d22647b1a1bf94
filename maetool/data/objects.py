"""What is where in an image: boxes, classes and masks, and the pictures of them that transforms change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from maetool._deprecated import moved
from maetool.errors import UsageError


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

    def numbered(self, own: Sequence[str], trained: Sequence[str]) -> "Objects":
        """Return the objects with the labels of a model, whose data may have had further classes, or another order.

        Args:
            own: names of the classes of the data.
            trained: names of those of the model.

        Raises:
            UsageError: a class that the model does not know.
        """
        return replace(self, labels=numbers_in(own, trained)[self.labels])

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


def numbers_in(own: Sequence[str], trained: Sequence[str]) -> Tensor:
    """Return which number, from 0, each class of some data has in a model, int64 (K,).

    Args:
        own: names of the K classes of the data, which may lack some.
        trained: names of those of the model.

    Raises:
        UsageError: a class that the model does not know.
    """
    known = {name: number for number, name in enumerate(trained)}
    strange = [name for name in own if name not in known]
    if strange:
        raise UsageError(
            f"The data has the class `{strange[0]}` ({len(strange)} such), but the model was trained on "
            f"{', '.join(f'`{name}`' for name in list(trained)[:12])}: use those classes, with the same spelling."
        )
    return torch.tensor([known[name] for name in own], dtype=torch.int64)


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
