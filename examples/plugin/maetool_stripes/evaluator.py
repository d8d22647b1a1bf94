"""An evaluator that knows one feature vector of each class."""

from typing import Any

from torch import Tensor
from torch.nn import functional

from maetool.evaluation import FeatureEvaluator
from maetool.evaluation.features import token_features
from maetool.evaluation.names import MetricName
from maetool.registry import METRICS


@METRICS.register_module()
class ClassMeanEvaluator(FeatureEvaluator):
    """Accuracy of the nearest mean of a class, by angle, on the encoder's features: `class_mean`, in percent.

    Arguments: see `FeatureEvaluator`.
    """

    title = "The nearest class mean"
    metric_names = {"class_mean": MetricName("class mean accuracy", "%", "greater")}

    def scores(self, bank: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        """Return the cosine (N, K) of each query and the mean of each class."""
        classes = functional.one_hot(labels).to(bank.dtype)  # (M, K)
        means = classes.T @ functional.normalize(bank, dim=1)  # (K, D), up to their lengths
        return functional.normalize(query, dim=1) @ functional.normalize(means, dim=1).T

    def measure(self, model: Any, data: Any) -> dict[str, float]:
        """Return the accuracy."""
        accuracies = self.accuracies(data, {"tokens": token_features})
        return {"class_mean": accuracies["tokens"]} if accuracies else {}
