"""What evaluators must keep, as a function that raises AssertionError with a sentence."""

import json
import logging
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from maetool.data.collate import collate_samples
from maetool.data.samplers import KeyedSampler
from maetool.evaluation.base import EvaluationData, Shared
from maetool.evaluation.counted import CountedBatches

from .contracts import _require


def check_evaluator(
    evaluator: Any, model: nn.Module, dataset: Any, bank: Any = None, folder: Path | None = None, collate: Any = None
) -> dict[str, Any]:
    """An evaluator names what it measures, depends on no size of a batch, and leaves the model as it is.

    Args:
        evaluator: the part.
        model: that it measures, with a data preprocessor.
        dataset: samples to measure on, at least 4, as the loader of a validation has them.
        bank: labelled samples to fit on, for evaluators on features.
        folder: empty, for its report; None asks for none.
        collate: joins samples to a batch; None stacks.

    Returns:
        The metrics.

    Raises:
        AssertionError: it breaks a promise; the message says which.
    """
    model = model.eval()
    before = deepcopy(model.state_dict())
    metrics, again = (_measured(evaluator, model, dataset, bank, size, collate) for size in (len(dataset), 3))
    _require(metrics, "something is measured")
    unnamed = ", ".join(name for name in metrics if name not in evaluator.metric_names)
    _require(not unnamed, f"metric_names names each metric, but not {unnamed}")
    _require(set(again) <= set(metrics), "a later validation measures nothing that the first one did not")
    _require(all(math.isfinite(value) for value in metrics.values()), "metrics are finite numbers")
    json.dumps(metrics)
    # What is neither better nor worse may be of a batch, as the loss of its best constant is.
    pairs = {name: (metrics[name], again[name]) for name in again if evaluator.metric_names[name].better}
    other = [name for name, pair in pairs.items() if not math.isclose(*pair, rel_tol=1e-4, abs_tol=1e-5)]
    _require(not other, f"metrics do not depend on the size of the batches ({', '.join(other)} do)")
    kept = all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    _require(kept and not model.training, "the model stays as it is, in evaluation mode")
    if folder is not None:
        json.dumps(evaluator.report(folder))
        written = {path.name for path in folder.iterdir()} - set(evaluator.files)
        _require(not written, f"files names each file of the report, but not {', '.join(sorted(written))}")
    return metrics


@torch.no_grad()
def _measured(evaluator: Any, model: Any, dataset: Any, bank: Any, size: int, collate: Any) -> dict[str, Any]:
    """Return the metrics of one validation, in batches of `size`."""

    def batches(source: Any, title: str = "Samples") -> CountedBatches:
        sampler = KeyedSampler(source, shuffle=False)
        loader: Any = DataLoader(source, size, sampler=sampler, collate_fn=collate or collate_samples)
        return CountedBatches(loader, logging.getLogger("maetool"), title)

    shared = Shared(model, batches, getattr(dataset, "classes", ()), bank)
    found = evaluator.measure(model, EvaluationData(batches(dataset), shared))
    return {name: value.item() if isinstance(value, torch.Tensor) else value for name, value in found.items()}
