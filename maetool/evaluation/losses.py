"""The model's own loss on validation images."""

from typing import Any

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from maetool.data.collate import samples_in
from maetool.data.datasets.broken_files import own_part
from maetool.protocols import ModelLike
from maetool.registry import METRICS

from .base import BaseEvaluator, EvaluationData
from .names import named


@METRICS.register_module()
class LossEvaluator(BaseEvaluator):
    """The mean over all images of what the model returns in mode "loss".

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
        count = 0
        for batch_idx, batch in enumerate(map(own_part, data)):
            if batch is None:
                continue
            data.call_hook("before_val_iter", batch_idx=batch_idx, data_batch=batch)
            inputs = model.data_preprocessor(batch)
            losses, size = model(**inputs, mode="loss"), samples_in(inputs["images"])
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + value.double() * size
            count += size
            data.call_hook("after_val_iter", batch_idx=batch_idx, data_batch=batch, outputs=losses)
        return {name: _mean(total, count) for name, total in totals.items()}


def _mean(total: Tensor, count: int) -> float:
    both = torch.stack([total.cpu(), torch.tensor(float(count), dtype=torch.float64)])
    all_reduce(both)
    return (both[0] / both[1]).item()
