"""What a segmentation is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from maetool.heads.segmentation import resize_map


def pixel_confusion(predicted: Tensor, truth: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Return how many pixels of each class (rows) were taken for each class (columns), int64 (K, K).

    Args:
        predicted: classes, int64 of any shape.
        truth: the same shape; pixels of `ignore_index` count nothing.
        num_classes: K.
        ignore_index: see there.
    """
    counted = truth != ignore_index
    pairs = truth[counted] * num_classes + predicted[counted]
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)


@dataclass(frozen=True)
class SegmentationScores:
    """The customary measures of a confusion of pixels.

    Attributes:
        confusion: int64 (K, K), rows true, columns predicted.
    """

    confusion: Tensor

    @property
    def class_iou(self) -> Tensor:
        """Intersection over union of each class, float64 (K,) from 0 to 1; nan for a class in neither."""
        right = self.confusion.diag().double()
        return right / (self.confusion.sum(dim=0) + self.confusion.sum(dim=1) - right)

    @property
    def class_accuracy(self) -> Tensor:
        """The share of each class's pixels that were recognised, float64 (K,); nan for a class without pixels."""
        return self.confusion.diag().double() / self.confusion.sum(dim=1)

    @property
    def metrics(self) -> dict[str, float]:
        """In percent: `mean_iou` and `mean_pixel_accuracy` over the classes that have a value, and `pixel_accuracy`."""
        right, total = self.confusion.diag().sum().double(), self.confusion.sum()
        shares = {
            "mean_iou": self.class_iou.nanmean(),
            "pixel_accuracy": right / total,
            "mean_pixel_accuracy": self.class_accuracy.nanmean(),
        }
        return {name: value.item() * 100 for name, value in shares.items()}

    def added(self, other: Tensor) -> "SegmentationScores":
        """Return the scores of this confusion and another one together."""
        return SegmentationScores(self.confusion + other)


def no_scores(num_classes: int) -> SegmentationScores:
    """Return the scores of no pixel."""
    return SegmentationScores(torch.zeros(num_classes, num_classes, dtype=torch.int64))


def predict_classes(model: nn.Module, data: Mapping[str, Any], size: Sequence[int]) -> Tensor:
    """Return the classes (B, H, W) that a segmentor gives the pixels of a batch, at `size`, on the CPU."""
    logits = model(model.data_preprocessor(dict(data))["images"], mode="predict")
    return resize_map(logits, size).argmax(dim=1).cpu()
