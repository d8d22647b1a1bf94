"""Confusion and worst cases of a segmentor, and worst cases of a detector."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.device import get_device
from torch import Tensor
from torch.utils.data import default_collate

from maetool.data.datasets.detection import collate_objects
from maetool.errors import UsageError
from maetool.evaluation.confusion import SegmentationScores, no_scores, pixel_confusion, predict_classes
from maetool.evaluation.matching import unmatched
from maetool.evaluation.precision import evaluated_in
from maetool.protocols import ModelLike
from maetool.visualization import html
from maetool.visualization.boxes import draw_objects, found_objects
from maetool.visualization.classification import confusion_figure
from maetool.visualization.overlays import overlay, palette_of, picture_of

from .study import Some
from .worst import Cell, WorstCases

_MOST = 100  # images, which are large and predicted one by one
_IN_LEGEND = 12  # classes
_LEAST = 0.5  # score of a detection
_OPACITY = 0.75  # of classes, beside the image itself


@torch.no_grad()
def dense_sections(
    task: str, model: ModelLike, dataset: Any, images: int, trained: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the sections on what a segmentor or a detector gets wrong.

    Args:
        task: "segmentation" or "detection".
        model: the model, in evaluation mode.
        dataset: its validation images.
        images: number of images, evenly spaced; at most 100 are looked at.
        trained: names of the classes of the model, where they are known.

    Raises:
        UsageError: classes that the model does not know, or in another order where their numbers lie in files.
    """
    case = DENSE[task](model.to(get_device()), Some(dataset, min(images, _MOST)), list(trained or dataset.classes))
    with evaluated_in(model, "auto"):
        yield from case.sections()


@dataclass(frozen=True)
class _Dense:
    """Images whose truth lies at places of them.

    Attributes:
        model: a segmentor or a detector.
        images: the images, which may differ in size.
        classes: names of the classes of the model.
    """

    model: ModelLike
    images: Some
    classes: list[str]

    def sections(self) -> Iterator[str]:
        """Yield the sections of a page."""
        raise NotImplementedError

    def sample(self, place: int) -> Mapping[str, Any]:
        """Return the sample at a `place` as validation reads it."""
        return self.images.dataset[self.images.key_of(place)]

    def name(self, place: int) -> str:
        """Return the name of the image at a `place`."""
        return self.images.name_of(int(self.images.index[place]))


class Segmented(_Dense):
    """Images with a class for each pixel."""

    def sections(self) -> Iterator[str]:
        """Yield the confusion of pixels, and the images of the lowest mean IoU.

        Raises:
            UsageError: classes of other names than those of the model, or in another order.
        """
        own, trained = list(self.images.classes), self.classes
        if trained != own:
            raise UsageError(
                f"the data has the classes {', '.join(own[:5])} ({len(own)}), but the model was trained on "
                f"{', '.join(trained[:5])} ({len(trained)}): their names and order must be equal."
            )
        each = [self._scores(*self._predicted(self.sample(place))) for place in range(len(self.images))]
        total = no_scores(self.model.num_classes)
        for scores in each:
            total = total.added(scores.confusion)
        note = f"Pixels of {len(each):,} images: {total.metrics['mean_iou']:.1f} % mean IoU."
        yield html.section("Confusion", html.drawing(confusion_figure(total.confusion.numpy(), self.classes), note))
        counts = total.confusion.sum(dim=0) + total.confusion.sum(dim=1)
        common = [i for i in counts.argsort(descending=True, stable=True)[:_IN_LEGEND].tolist() if counts[i]]
        legend = [(self.classes[i], self._colours[i]) for i in sorted(common)]
        errors = torch.stack([1 - scores.class_iou.nanmean() for scores in each])
        words = f"The lowest mean IoU of {len(each):,} images, with truth and prediction."
        yield WorstCases(errors, self._cells, words, legend=legend).section()

    @property
    def _colours(self) -> Any:
        palette = getattr(self.images.dataset, "metainfo", {}).get("palette")
        return palette or palette_of(len(self.classes)).tolist()

    def _predicted(self, sample: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the true and the predicted classes (H, W) of a sample."""
        truth = sample["semantic"]
        return truth, predict_classes(self.model, default_collate([sample]), truth.shape)[0]

    def _scores(self, truth: Tensor, predicted: Tensor) -> SegmentationScores:
        return SegmentationScores(pixel_confusion(predicted, truth, self.model.num_classes, self.model.ignore_index))

    def _cells(self, place: int) -> list[Cell]:
        sample = self.sample(place)
        maps = self._predicted(sample)
        image = picture_of(sample["inputs"], maps[0].shape)
        true, predicted = (overlay(image, each.numpy(), self._colours, _OPACITY) for each in maps)
        iou = self._scores(*maps).metrics["mean_iou"]
        return [(image, self.name(place)), (true, "true"), (predicted, f"predicted, {iou:.1f} % IoU")]


class Detected(_Dense):
    """Images with objects."""

    def sections(self) -> Iterator[str]:
        """Yield the images with the most objects that are missed or falsely found."""
        errors = [sum(int(each.sum()) for each in self._compared(place)[3:]) for place in range(len(self.images))]
        words = (
            f"The images with the most objects missed or falsely found, of {len(errors):,}. A detection with a score "
            f"of {_LEAST} or more is right if the class is, and the IoU of its box is 0.5 or more."
        )
        if lacking := [name for name in self.classes if name not in self.images.classes]:
            words += f" The data lacks {', '.join(lacking[:12])}, which the model was trained on."
        yield WorstCases(torch.tensor(errors).float(), self._cells, words, columns=4, side=250).section(12)

    def _compared(self, place: int) -> tuple[Tensor, Mapping[str, Tensor], dict[str, Tensor], Tensor, Tensor]:
        """Return an image, its true and its found objects, which are missed, and which are false."""
        sample = self.sample(place)
        objects = sample["objects"].numbered(self.images.classes, self.classes)
        batch = collate_objects([{**sample, "objects": objects}])
        image, true, found = next(found_objects(self.model, batch, _LEAST))
        return image, true, found, *unmatched(true, found)

    def _cells(self, place: int) -> list[Cell]:
        image, true, found, missed, false = self._compared(place)
        classes, name = self.classes, self.name(place)
        left = draw_objects(image, true, classes, ["missed" if each else "" for each in missed])
        right = draw_objects(image, found, classes, ["false" if each else "" for each in false])
        return [
            (left, f"{name}: {int(missed.sum())} of {len(missed)} missed"),
            (right, f"{int(false.sum())} of {len(false)} found are false"),
        ]


DENSE = {"segmentation": Segmented, "detection": Detected}  # by task
