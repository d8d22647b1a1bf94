"""What is confused with what, and the images that a model gets wrong most."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maetool.visualization.classification import confusion_figure
from maetool.visualization.features import nearest_neighbours
from maetool.visualization.galleries import gallery
from maetool.visualization.reconstruction import drawn_inputs, first_samples, reconstruction_panel

from .study import Some, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NEIGHBOURS, _TEMPERATURE = 20, 0.07
_IN_A_ROW = 6


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

    def worst(self, number: int = 18) -> np.ndarray | None:
        """Draw the images that got the highest probability for a wrong class; None if all are right.

        Args:
            number: of images, at most.
        """
        confidence, predicted = self.scores.max(dim=1)
        wrong = (predicted != self.labels).nonzero()[:, 0]
        if not len(wrong):
            return None
        places = wrong[confidence[wrong].argsort(descending=True, stable=True)][:number].tolist()
        classes = self.study.images.classes
        captions = [
            f"{classes[int(self.labels[i])]} → {classes[int(predicted[i])]} {confidence[i]:.2f}" for i in places
        ]
        pictures = self.study.pictures(places)
        rows = range(0, len(places), _IN_A_ROW)
        return gallery(
            [pictures[i : i + _IN_A_ROW] for i in rows], [captions[i : i + _IN_A_ROW] for i in rows], side=150
        )


def judged(study: Study) -> Judged | None:
    """Return predictions for a `study`, of the classifier, or of kNN, each image by all others; None without labels."""
    if study.labels is None:
        return None
    classes, logits = len(study.images.classes), study.outputs.get("logits")
    if logits is not None and logits.shape[1] == classes:
        return Judged(study, logits.float().softmax(dim=1), "the classifier")
    nearest, similarity = nearest_neighbours(study.features, _NEIGHBOURS)
    votes = (similarity / _TEMPERATURE).softmax(dim=1)
    one_hot = functional.one_hot(study.labels[nearest], classes).float()  # (N, k, K)
    return Judged(study, (votes[..., None] * one_hot).sum(dim=1), "kNN, each image by all others")


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
