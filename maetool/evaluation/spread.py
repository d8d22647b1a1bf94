"""Whether features have collapsed: their effective rank, their deviation, and how alike the tokens of an image are."""

from math import isnan
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from maetool.protocols import ModelLike
from maetool.registry import METRICS

from .base import BaseEvaluator, EvaluationData
from .features import token_features, tokens_of
from .names import named

_NEGLIGIBLE = 1e-7  # added to the share of each singular value, as in the paper


def rankme(features: Tensor) -> float:
    """Return the effective rank of features (N, D): exp of the entropy of their singular values, 1 to min(N, D).

    Source: Garrido et al., "RankMe: assessing the downstream performance of pretrained self-supervised representations
    by their rank" (2023), equations 1 and 2, who take 25,600 images. It cannot be larger than the number of images.
    """
    values = features.double()
    if len(values) > values.shape[1]:
        values = torch.linalg.qr(values, mode="r").R  # has the same singular values
    singular = torch.linalg.svdvals(values)
    shares = singular / singular.sum().clamp(min=torch.finfo(torch.float64).tiny) + _NEGLIGIBLE
    return (-(shares * shares.log()).sum()).exp().item()


def feature_deviation(features: Tensor) -> float:
    """Return the deviation of features (N, D) of length 1 over the images: 0 if all are alike, at most about 1.

    It is the mean over the D dimensions times the root of D, so that features that point evenly into all directions
    have 1. Source: Chen and He, "Exploring simple Siamese representation learning" (2021), section 4.1.
    """
    units = functional.normalize(features.double(), dim=1)
    return (units.std(dim=0, correction=0).mean() * units.shape[1] ** 0.5).item()


def token_similarity(model: ModelLike, images: Any) -> Tensor:
    """Return the mean cosine similarity of two different patch tokens of the same image, (B,): 1 if all are alike.

    It is nan for a model that has one token, or pools by itself, such as a classifier.

    Args:
        model: the model.
        images: as for `maetool.evaluation.token_features`.
    """
    tokens = tokens_of(model, images)
    number = tokens.shape[1] if tokens.ndim == 3 else 1
    if number < 2:
        return tokens.new_full((len(tokens),), float("nan"), dtype=torch.float32)
    units = functional.normalize(tokens.float(), dim=2)
    return (units.sum(dim=1).square().sum(dim=1) - number) / (number * (number - 1))


@METRICS.register_module()
class FeatureSpreadEvaluator(BaseEvaluator):
    """Signs of collapse in the encoder's features of whole images; it needs no labels.

    `rankme`, the effective rank of the mean patch tokens; `feature_deviation`, their deviation over the images, 0 when
    all images have the same features; `token_similarity`, the mean cosine similarity of the patch tokens within an
    image, 1 when all are alike, which a classifier does not have. See the functions of this file. As the first
    evaluator it shares its pass over the images with `KnnEvaluator` and the probes.

    Args:
        dataloader, every, prefix: see `BaseEvaluator`.
    """

    metric_names = named("rankme", "feature_deviation", "token_similarity")

    def __init__(self, dataloader: Any = None, every: int = 1, prefix: str | None = None) -> None:
        super().__init__(dataloader, every, prefix)

    def measure(self, model: ModelLike, data: EvaluationData) -> dict[str, float]:
        """Return the metrics."""
        found = data.features({"tokens": token_features, "similarity": token_similarity})
        metrics = {"rankme": rankme(found["tokens"]), "feature_deviation": feature_deviation(found["tokens"])}
        similarity = found["similarity"].double().mean().item()
        return metrics if isnan(similarity) else {**metrics, "token_similarity": similarity}
