"""What the features of whole images are worth: classifiers that learn from labelled images and ask about others."""

from typing import Any

from torch import Tensor, nn

from maetool.annotations import Count, Positive
from maetool.data.datasets.labels import Labels, aligned
from maetool.errors import UsageError
from maetool.registry import METRICS

from .base import BaseEvaluator, EvaluationData
from .features import Features, pixel_features, token_features
from .knn import knn_scores
from .linear_probe import linear_probe_scores
from .names import named

_TOKENS: dict[str, Features] = {"tokens": token_features}
_BANK = "Neighbours of kNN"  # in the log


class FeatureEvaluator(BaseEvaluator):
    """A classifier on frozen features; a subclass writes `scores`, and says in `title` what it is called.

    Classes are matched by name between both sets of images.

    Args:
        bank: loader or config of the labelled images to learn from; None takes the `bank_dataloader` of the loop.
        optional: measure nothing where an image has no label, or several, instead of refusing the data.
        dataloader, every, prefix: see `BaseEvaluator`.
    """

    title = "A classifier on features"

    def __init__(
        self,
        bank: Any = None,
        optional: bool = False,
        dataloader: Any = None,
        every: int = 1,
        prefix: str | None = None,
    ) -> None:
        super().__init__(dataloader, every, prefix)
        self.bank, self.optional = bank, optional

    def scores(self, bank: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Return a number for each class (N, K) of every query, the largest for the one that it is taken for.

        Args:
            bank: (M, D), the features to learn from.
            labels: their classes, int64 (M,), or float32 (M, K) of zeros and ones for several.
            query: (N, D).
        """
        raise NotImplementedError(f"{type(self).__name__} must say how it classifies: write `scores`.")

    def accuracies(self, data: EvaluationData, features: dict[str, Features]) -> dict[str, float]:
        """Return the accuracy in percent with each of the features; nothing where there are no labels and it may be.

        Raises:
            UsageError: no labels, or none to learn from.
        """
        loader = data.bank if self.bank is None else self.bank
        bank = None if loader is None else data.other(loader, _BANK)
        known, classes = ([] if each is None else _classes_of(each.dataset) for each in (bank, data))
        if bank is None or not known or not classes:
            if self.optional:
                return {}
            raise UsageError(
                f"{self.title} needs labelled neighbours in val_cfg.bank_dataloader and labelled images in "
                "val_dataloader: give a folder with train/ and val/, each with a folder for each class."
            )
        learned, asked = bank.features(features), data.features(features)
        labels = aligned(Labels(classes, asked["label"]), known)
        found = {name: self.scores(learned[name], learned["label"], asked[name]).argmax(dim=1) for name in features}
        return {name: (predicted == labels).float().mean().item() * 100 for name, predicted in found.items()}


@METRICS.register_module()
class KnnEvaluator(FeatureEvaluator):
    """Accuracy of a k-nearest-neighbour classifier on the encoder's features of whole images: `knn`, in percent.

    Args:
        bank, optional: see `FeatureEvaluator`; the bank holds the neighbours.
        k: neighbours that vote.
        temperature: of the weights exp(similarity / temperature) of the votes.
        pixels: measure `knn_pixels` too, that on the pixels themselves, at the first validation of a run. Not with a
            million neighbours, whose pixels do not fit into memory.
        dataloader, every, prefix: see `BaseEvaluator`.
    """

    title = "kNN"
    metric_names = named("knn", "knn_pixels")

    def __init__(
        self,
        bank: Any = None,
        k: Count = 20,
        temperature: Positive = 0.07,
        pixels: bool = False,
        optional: bool = False,
        dataloader: Any = None,
        every: int = 1,
        prefix: str | None = None,
    ) -> None:
        super().__init__(bank, optional, dataloader, every, prefix)
        self.k, self.temperature, self.pixels = k, temperature, pixels

    def scores(self, bank: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Return the shares of the votes (N, K), see `knn_scores`."""
        return knn_scores(bank, labels, query, self.k, self.temperature)

    def measure(self, model: nn.Module, data: EvaluationData) -> dict[str, float]:
        """Return the accuracies."""
        features = {**_TOKENS, "pixels": pixel_features} if self.pixels else _TOKENS
        found = self.accuracies(data, features)
        self.pixels = False
        return {{"tokens": "knn", "pixels": "knn_pixels"}[name]: value for name, value in found.items()}


@METRICS.register_module()
class LinearProbeEvaluator(FeatureEvaluator):
    """Accuracy of a linear classifier on the encoder's features of whole images: `linear_probe`, in percent.

    Args:
        bank, optional: see `FeatureEvaluator`.
        weight_decay, steps: see `linear_probe_scores`.
        dataloader, every, prefix: see `BaseEvaluator`.
    """

    title = "The linear probe"
    metric_names = named("linear_probe")

    def __init__(
        self,
        bank: Any = None,
        weight_decay: float = 1e-3,
        steps: int = 100,
        optional: bool = False,
        dataloader: Any = None,
        every: int = 1,
        prefix: str | None = None,
    ) -> None:
        super().__init__(bank, optional, dataloader, every, prefix)
        self.weight_decay, self.steps = weight_decay, steps

    def scores(self, bank: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Return the logits (N, K), see `linear_probe_scores`."""
        return linear_probe_scores(bank, labels, query, self.weight_decay, self.steps)

    def measure(self, model: nn.Module, data: EvaluationData) -> dict[str, float]:
        """Return the accuracy."""
        found = self.accuracies(data, _TOKENS)
        return {"linear_probe": found["tokens"]} if found else {}


def _classes_of(dataset: Any) -> list[str]:
    # Several labels for an image have no accuracy.
    labels = getattr(dataset, "labels", None)
    return dataset.classes if labels is not None and labels.ndim == 1 else []
