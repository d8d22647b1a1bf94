"""What is confused with what, and how wrong the predictions for images are that have one label or several."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maetool.data.datasets.labels import Labels, aligned
from maetool.errors import UsageError
from maetool.evaluation.regression import aligned_names
from maetool.visualization import html
from maetool.visualization.classification import confusion_figure
from maetool.visualization.features import nearest_neighbours
from maetool.visualization.reconstruction import drawn_inputs, first_samples, reconstruction_panel
from maetool.visualization.regression import scatter_figure

from .study import Some, Study
from .worst import WorstCases

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NEIGHBOURS, _TEMPERATURE = 20, 0.07


def judged_sections(study: Study, targets: Sequence[str], classes: Sequence[str]) -> Iterator[str]:
    """Yield what is predicted over what is true, and the images that are most wrong.

    Args:
        study: the images, and what a classifier or a regressor predicts for them.
        targets: names of the numbers that a regressor was trained to predict, in its order.
        classes: those that a classifier was trained on, in its order; empty if unknown.

    Raises:
        UsageError: there is nothing to compare.
    """
    result = judged(study, classes)
    if result is not None:
        note = f"By {result.by}: {result.accuracy:.1f} % of {len(study.features):,} images."
        yield html.section("Confusion", html.drawing(result.confusion(), note))
        yield result.worst().section()
        return
    label, predicted = study.outputs.get("label"), study.outputs.get("predicted")
    own = list(study.images.classes)
    if own and label is not None:
        label = aligned(Labels(own, label.float()), list(classes) or own)
    if label is None or predicted is None or predicted.shape != label.shape:
        raise UsageError("they are drawn of images with labels, one class each or what the model predicts.")
    if own:
        yield worst_findings(study, label, predicted.float().sigmoid(), list(classes) or own).section()
        return
    own = list(study.images.targets)
    names = aligned_names(own, list(targets))
    true, predicted = label[:, [own.index(name) for name in names]].double(), predicted.double()
    figure = scatter_figure(true.numpy(), predicted.numpy(), names)
    yield html.section("Predictions", html.drawing(figure, f"Predicted over true, {len(true):,} images."))
    yield worst_numbers(study, true, predicted, names).section()


@dataclass(frozen=True)
class Judged:
    """Predicted classes of N images with one label each.

    Attributes:
        study: the images and their labels.
        scores: float32 (N, K), the probabilities, of sum 1.
        by: what predicted.
    """

    study: Study
    scores: Tensor
    by: str

    @property
    def labels(self) -> Tensor:
        """The classes of the images, int64 (N,)."""
        assert self.study.labels is not None, "only images with one label each are judged"
        return self.study.labels

    @property
    def accuracy(self) -> float:
        """Share of the images whose class is predicted, in percent."""
        return (self.scores.argmax(dim=1) == self.labels).float().mean().item() * 100

    def confusion(self) -> "Figure":
        """Draw the confusion matrix."""
        classes = self.study.images.classes
        pairs = self.labels * len(classes) + self.scores.argmax(dim=1)
        return confusion_figure(pairs.bincount(minlength=len(classes) ** 2).view(len(classes), -1).numpy(), classes)

    def worst(self) -> WorstCases:
        """Return the probability of the predicted class as the error of each image, 0 where it is right."""
        confidence, predicted = self.scores.max(dim=1)
        classes = self.study.images.classes

        def cells(place: int) -> list[tuple[np.ndarray, str]]:
            caption = f"{classes[int(self.labels[place])]} → {classes[int(predicted[place])]} {confidence[place]:.2f}"
            return [(self.study.pictures([place])[0], caption)]

        errors = torch.where(predicted == self.labels, 0.0, confidence)
        return WorstCases(errors, cells, f"True → predicted by {self.by}, with the probability.")


def judged(study: Study, trained: Sequence[str] = ()) -> Judged | None:
    """Return predictions for images, of the classifier, or of kNN, each image by all others; None without labels.

    Args:
        study: the images.
        trained: classes of the classifier, which does not predict those of other data; empty if unknown.
    """
    if study.labels is None:
        return None
    classes, logits = len(study.images.classes), study.outputs.get("predicted")
    if (
        logits is not None
        and logits.shape[1] == classes
        and list(trained or study.images.classes) == list(study.images.classes)
    ):
        return Judged(study, logits.float().softmax(dim=1), "the classifier")
    nearest, similarity = nearest_neighbours(study.features, _NEIGHBOURS)
    votes = (similarity / _TEMPERATURE).softmax(dim=1)
    one_hot = functional.one_hot(study.labels[nearest], classes).float()  # (N, k, K)
    return Judged(study, (votes[..., None] * one_hot).sum(dim=1), "kNN, each image by all others")


def worst_findings(study: Study, true: Tensor, scores: Tensor, classes: Sequence[str]) -> WorstCases:
    """Return as the error of an image with several labels that of the label which is most wrong.

    Args:
        study: the images.
        true: (N, K), 0 or 1, NaN where unknown.
        scores: (N, K), the probabilities.
        classes: names of the K labels.
    """
    most, label = (scores - true).abs().nan_to_num(0.0).max(dim=1)

    def cells(place: int) -> list[tuple[np.ndarray, str]]:
        at = int(label[place])
        has = "has" if true[place, at] else "has no"
        caption = f"{has} {classes[at]}, {scores[place, at]:.2f}"
        return [(study.pictures([place])[0], caption)]

    errors = torch.where(most > 0.5, most, 0.0)
    return WorstCases(errors, cells, "The label that is most wrong, and the probability that the classifier gives it.")


def worst_numbers(study: Study, true: Tensor, predicted: Tensor, names: Sequence[str]) -> WorstCases:
    """Return as the error of an image that of the number which is most wrong, in standard deviations of the truth.

    Args:
        study: the images.
        true: (N, K), NaN where unknown.
        predicted: (N, K).
        names: of the K numbers.
    """
    deviation = torch.from_numpy(np.nan_to_num(np.nanstd(true.numpy(), axis=0)))
    each = (predicted - true).abs() / torch.where(deviation > 0, deviation, 1.0)
    most, number = each.nan_to_num(0.0).max(dim=1)

    def cells(place: int) -> list[tuple[np.ndarray, str]]:
        at = int(number[place])
        caption = f"{true[place, at]:.4g} → {predicted[place, at]:.4g}"
        return [(study.pictures([place])[0], f"{names[at]} {caption}" if len(names) > 1 else caption)]

    which = "the number that is most wrong, in its standard deviations" if len(names) > 1 else names[0]
    return WorstCases(most, cells, f"The largest errors, true → predicted: {which}.")


@torch.no_grad()
def worst_reconstructions(model: Any, dataset: Any, number: int = 4, images: int = 48) -> np.ndarray:
    """Draw the reconstructions with the highest loss among some images under fixed masks.

    Args:
        model: a masked image model, in evaluation mode.
        dataset: the images.
        number: of rows.
        images: number of images that are tried, evenly spaced.

    Raises:
        UsageError: see `reconstruction_panel`.
    """
    some = Some(dataset, images)
    drawn_inputs(model, first_samples(some, 1, 0)["inputs"])  # which refuses what is not drawn
    batch = first_samples(some, len(some), 0)
    losses = []
    for place in range(len(some)):
        data = model.data_preprocessor(_only(batch, [place]))
        losses.append(float(model(data["images"], data["data_samples"], mode="loss")["loss"]))
    return reconstruction_panel(model, _only(batch, np.argsort(losses)[::-1][:number].tolist()))


def _only(batch: Any, places: list[int]) -> Any:
    """Return samples of a batch, in which streams or views are mappings of tensors."""
    if isinstance(batch, Mapping):
        return {name: _only(value, places) for name, value in batch.items()}
    return batch[places] if isinstance(batch, Tensor) else [batch[i] for i in places]
