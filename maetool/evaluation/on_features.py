"""Evaluation of image features: classifiers that are fitted on labelled images and predict others."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from maetool.annotations import Count, Positive
from maetool.data.datasets.labels import Labels, aligned
from maetool.errors import UsageError
from maetool.protocols import ModelLike
from maetool.registry import METRICS

from .base import BaseEvaluator, EvaluationData
from .features import Features, pixel_features, token_features
from .knn import knn_scores
from .linear_probe import linear_probe_scores
from .names import named

_TOKENS: dict[str, Features] = {"tokens": token_features}
_BANK = "Neighbours of kNN"  # in the log


class FeatureEvaluator(BaseEvaluator):
    """A classifier on frozen features; a subclass implements `scores`, and has its name in `title`.

    Classes are matched by name between the two sets of images.

    Args:
        bank: loader or config of the labelled images to fit on; None uses `bank_dataloader` of the loop.
        optional: measure nothing if the images have no label or several, instead of refusing the data; their features
            are computed nevertheless, for the hooks.
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
        """Return a score of each class for every query (N, K), highest for the predicted class.

        Args:
            bank: (M, D), the features to fit on.
            labels: their classes, int64 (M,), or float32 (M, K) of zeros and ones for several.
            query: (N, D).
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `scores`.")

    def collected(self, data: EvaluationData, features: Mapping[str, Features]) -> tuple[Any, Any] | None:
        """Return the features and labels of the bank and of the images that are asked; None without labels.

        Args:
            data: images of the validation, and access to the bank.
            features: functions of (model, images), by name.

        Returns:
            Two dicts with the features (N, D) by name and `label`, int64 (N,), the same number for the same class; or
            None without labels if `optional`.

        Raises:
            UsageError: the images or the bank have no labels.
        """
        loader = data.bank if self.bank is None else self.bank
        bank = None if loader is None else data.other(loader, _BANK)
        known, classes = ([] if each is None else _classes_of(each.dataset) for each in (bank, data))
        if bank is None or not known or not classes:
            if self.optional:
                data.features(_TOKENS)  # whose collapse `HealthHook` sees without labels, too
                return None
            if any(_has_several(each.dataset) for each in (bank, data) if each is not None):
                raise UsageError(
                    f"{self.title} measures images of one class each, but these may have several labels: `maetool "
                    "quick_eval CHECKPOINT --data TABLE` judges features by such labels."
                )
            raise UsageError(
                f"{self.title} needs labelled neighbours in val_cfg.bank_dataloader and labelled images in "
                "val_dataloader: use a folder with train/ and val/, each with a folder for each class."
            )
        learned, asked = bank.features(features), data.features(features)
        return learned, {**asked, "label": aligned(Labels(classes, asked["label"]), known)}

    def accuracy(self, bank: Tensor, labels: Tensor, query: Tensor, truth: Tensor) -> float:
        """Return how many queries get their class, in percent.

        Args:
            bank: (M, D), the features to fit on.
            labels: their classes, int64 (M,).
            query: (N, D).
            truth: the classes of the queries, int64 (N,).
        """
        return (self.scores(bank, labels, query).argmax(dim=1) == truth).float().mean().item() * 100

    def accuracies(self, data: EvaluationData, features: dict[str, Features]) -> dict[str, float]:
        """Return the accuracy in percent with each of the features; empty without labels if `optional`.

        Args:
            data: images of the validation, and access to the bank.
            features: functions of (model, images), by name.

        Raises:
            UsageError: the images or the bank have no labels.
        """
        sets = self.collected(data, features)
        if sets is None:
            return {}
        learned, asked = sets
        return {n: self.accuracy(learned[n], learned["label"], asked[n], asked["label"]) for n in features}


@METRICS.register_module()
class KnnEvaluator(FeatureEvaluator):
    """Accuracy of a k-nearest-neighbour classifier on the encoder's features of whole images: `knn`, in percent.

    Args:
        bank, optional: see `FeatureEvaluator`; the bank holds the neighbours.
        k: number of neighbours.
        temperature: temperature of the votes' weights, exp(similarity / temperature).
        pixels: also measure `knn_pixels`, kNN on the raw pixels, at the first validation of a run. The pixels of a
            million neighbours do not fit into memory.
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

    def measure(self, model: ModelLike, data: EvaluationData) -> dict[str, float]:
        """Return the accuracies."""
        features = {**_TOKENS, "pixels": pixel_features} if self.pixels else _TOKENS
        accuracies = self.accuracies(data, features)
        self.pixels = False
        return {{"tokens": "knn", "pixels": "knn_pixels"}[name]: value for name, value in accuracies.items()}


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

    def measure(self, model: ModelLike, data: EvaluationData) -> dict[str, float]:
        """Return the accuracy."""
        accuracies = self.accuracies(data, _TOKENS)
        return {"linear_probe": accuracies["tokens"]} if accuracies else {}


def _classes_of(dataset: Any) -> list[str]:
    # Accuracy is not defined for several labels per image.
    labels = getattr(dataset, "labels", None)
    return dataset.classes if labels is not None and labels.ndim == 1 else []


def _has_several(dataset: Any) -> bool:
    labels = getattr(dataset, "labels", None)
    return labels is not None and labels.ndim == 2 and bool(getattr(dataset, "classes", None))
