"""The model's own loss on validation images."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from maetool.data.collate import samples_in
from maetool.data.datasets.broken_files import own_part
from maetool.protocols import ModelLike
from maetool.registry import METRICS
from maetool.structures.over_processes import recorded_totals

from .base import BaseEvaluator, EvaluationData
from .names import named

_OF_IMAGES = ("masked_fraction", "accuracy")  # every image counts alike in these


@METRICS.register_module()
class LossEvaluator(BaseEvaluator):
    """The mean over all images of what the model returns in mode "loss"; of losses with weights, the mean by these.

    Patches, pixels or labels that weigh more count more, however the images are divided into batches and processes. A
    model whose tasks have different weights is averaged by those of the main one.

    For a masked image model these are `loss`, under masks that never change, `constant_predictor` (see
    `RegressionHead`) and `masked_fraction`.

    Args:
        dataloader, every, prefix: see `BaseEvaluator`.
    """

    metric_names = named("loss", "constant_predictor", "masked_fraction")

    def __init__(self, dataloader: Any = None, every: int = 1, prefix: str | None = None) -> None:
        super().__init__(dataloader, every, prefix)

    def measure(self, model: ModelLike, data: EvaluationData) -> dict[str, float]:
        """Return the means."""
        totals: dict[str, Any] = {}
        for batch_idx, batch in enumerate(map(own_part, data)):
            if batch is None:
                continue
            data.call_hook("before_val_iter", batch_idx=batch_idx, data_batch=batch)
            inputs = model.data_preprocessor(batch)
            with recorded_totals() as weights:
                losses = model(**inputs, mode="loss")
            images = torch.tensor(float(samples_in(inputs["images"])))
            for name, value in losses.items():
                weight = weights[0] if weights and name not in _OF_IMAGES else images
                totals[name] = totals.get(name, 0.0) + _weighted(value, weight)
            data.call_hook("after_val_iter", batch_idx=batch_idx, data_batch=batch, outputs=losses)
        return {name: _mean(total) for name, total in totals.items()}


def _weighted(value: Tensor, weight: Tensor) -> Tensor:
    """Return the two sums that a mean divides, float64 (2,)."""
    weight = weight.to(value.device, torch.float64)
    return torch.stack([torch.where(weight > 0, value.double() * weight, 0.0), weight])


def _mean(sums: Tensor) -> float:
    sums = sums.cpu()
    all_reduce(sums)
    return (sums[0] / sums[1]).item()
