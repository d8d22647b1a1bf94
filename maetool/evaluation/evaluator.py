"""MMEngine's metrics, from `val_evaluator` in a config."""

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, get_world_size, is_main_process
from mmengine.evaluator import BaseMetric, Evaluator

from maetool.config.facts import metrics_in
from maetool.errors import UsageError
from maetool.registry import METRICS
from maetool.weights.write import to_plain

_MISSING = object()


def build_evaluator(evaluator: Any) -> Evaluator:
    """Build an evaluator from a metric, a list of metrics, `dict(metrics=...)`, or None.

    Raises:
        UsageError: a metric that is not registered, or an argument that it does not take.
    """
    if isinstance(evaluator, Evaluator):
        return evaluator
    evaluator = metrics_in(evaluator)
    several = isinstance(evaluator, Sequence) and not isinstance(evaluator, str)
    metrics = evaluator if several else [] if evaluator is None else [evaluator]
    return Evaluator([_built(metric) for metric in metrics])


def _built(metric: Any) -> BaseMetric:
    built = METRICS.build(metric)
    if not isinstance(built, BaseMetric):
        raise UsageError(
            f"val_evaluator holds {metric!r}, but each of its metrics must be a BaseMetric or its config, such as "
            'dict(type="MyMetric").'
        )
    return built


def compute(evaluator: Evaluator, size: int, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics in `measured`, followed by those of an evaluator that has processed all data.

    Args:
        evaluator: an evaluator whose metrics have processed the batches of this rank.
        size: number of images.
        measured: metrics by name.

    Raises:
        UsageError: two metrics have the same name, or a value cannot be stored in a checkpoint.
    """
    metrics = dict(measured)
    for metric in evaluator.metrics:
        owner = type(metric).__name__
        for name, value in _of_all_processes(metric, size).items():
            if name in metrics:
                raise UsageError(
                    f"{owner} returns `{name}`, a name that is already taken: give it a prefix, such as prefix='my'."
                )
            metrics[name] = plain_value(owner, name, value)
    return metrics


def _of_all_processes(metric: BaseMetric, size: int) -> dict[str, Any]:
    if get_world_size() == 1:
        return metric.evaluate(size)
    # MMEngine truncates to the rank with the fewest results; here ranks may have different numbers of images.
    parts = all_gather_object(metric.results)
    metric.results.clear()
    results = [each for each in chain(*zip_longest(*parts, fillvalue=_MISSING)) if each is not _MISSING][:size]
    computed: list[Any] = [metric.compute_metrics(results) if is_main_process() else None]
    broadcast_object_list(computed)
    return {f"{metric.prefix}/{name}" if metric.prefix else name: value for name, value in computed[0].items()}


def plain_value(owner: str, name: str, value: Any) -> Any:
    """Return the value of a metric in the form that checkpoints and logs store.

    Args:
        owner: class name of the evaluator, for the message.
        name: of the metric.
        value: a number, a tensor, or a list of them.

    Raises:
        UsageError: a value of an unsupported type.
    """
    try:
        value = to_plain(value)
    except TypeError as error:
        raise UsageError(
            f"{owner} returns a value of type {type(value).__name__} as `{name}`, which cannot be stored in a "
            "checkpoint: return numbers, tensors, or lists of them."
        ) from error
    return value.item() if hasattr(value, "numel") and value.numel() == 1 else value
