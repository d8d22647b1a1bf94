"""Confusion matrix and scores of a semantic segmentation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maetool.heads.segmentation import resize_map
from maetool.protocols import ModelLike


def pixel_confusion(predicted: Tensor, truth: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Return the number of pixels of each true class (rows) with each predicted class (columns), int64 (K, K).

    Args:
        predicted: classes, int64 of any shape.
        truth: the same shape; pixels of `ignore_index` are ignored.
        num_classes: K.
        ignore_index: value of `truth` to ignore.
    """
    counted = truth != ignore_index
    pairs = truth[counted] * num_classes + predicted[counted]
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)


@dataclass(frozen=True)
class SegmentationScores:
    """The usual scores of a confusion matrix of pixels.

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
        """The recall of each class, float64 (K,); nan for a class without pixels."""
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
        """Return the scores of the sum of this confusion matrix and the `other` one, int64 (K, K)."""
        return SegmentationScores(self.confusion + other)


def no_scores(num_classes: int) -> SegmentationScores:
    """Return scores of `num_classes` classes without any pixel, to add to."""
    return SegmentationScores(torch.zeros(num_classes, num_classes, dtype=torch.int64))


def predict_classes(model: ModelLike, data: Mapping[str, Any], size: Sequence[int]) -> Tensor:
    """Return the classes (B, H, W) that a segmentor predicts for a batch, on the CPU.

    Args:
        model: a segmentor.
        data: a batch of the loader.
        size: (H, W), to which predictions of another size are resized.
    """
    images = model.data_preprocessor(dict(data))["images"]
    own = getattr(model, "predict_classes", None)
    if own and tuple(images.shape[2:]) == tuple(size):
        return own(images).cpu()
    return resize_map(model(images, mode="predict"), size).argmax(dim=1).cpu()
