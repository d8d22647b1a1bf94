"""The evaluators of a loop, and what their metrics are called where two give the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maetool.errors import UsageError
from maetool.registry import METRICS

from .base import BaseEvaluator
from .names import register_metric, register_prefixed


def build_evaluators(evaluators: Mapping[str, Any]) -> dict[str, BaseEvaluator]:
    """Return name to evaluator, of configs or of evaluators; None in the place of one leaves it out.

    Raises:
        UsageError: something that is no evaluator, an unknown one, or an argument that it does not take.
    """
    built = {name: METRICS.build(each) for name, each in evaluators.items() if each is not None}
    for name, each in built.items():
        if not isinstance(each, BaseEvaluator):
            raise UsageError(
                f"val_cfg.evaluators.{name} is a {type(each).__name__}, which is no evaluator: give a subclass of "
                "maetool.evaluation.BaseEvaluator; metrics of MMEngine's kind belong into val_evaluator."
            )
        register_metric(type(each))
        register_prefixed(each.prefix or name, each.metric_names)
    return built


def full_names(evaluators: Mapping[str, BaseEvaluator], name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an evaluator gives under the names that it has in the loop.

    Args:
        evaluators: name to evaluator, of the loop.
        name: whose it is.
        found: metric to value.
    """
    one, others = evaluators[name], _others(evaluators, name)
    taken = {metric for each in others for metric in each.metric_names}
    prefixed = _is_alike(one, others)
    return {
        f"{one.prefix or name}/{key}"
        if one.prefix or (one.prefix is None and (prefixed or key in taken))
        else key: value
        for key, value in found.items()
    }


def may_come(metric: Any, loop: Any) -> bool:
    """Return whether a metric may be one of an evaluator whose turn it was not in the last validation of a loop."""
    if not isinstance(metric, str):
        return False
    resting = [(name, loop.evaluators[name]) for name in getattr(loop, "resting", ())]
    prefix, _, tail = metric.rpartition("/")
    return any(
        not each.metric_names or (tail in each.metric_names and prefix in (name, each.prefix, ""))
        for name, each in resting
    )


def must_wait(hook: Any, metrics: Mapping[str, Any], loop: Any) -> bool:
    """Return whether a hook of MMEngine's follows a metric that will be there once it is its evaluator's turn."""
    followed = getattr(hook, "monitor", None) or getattr(hook, "save_best", None)
    names = followed if isinstance(followed, list | tuple) else [followed]
    return any(name not in metrics and name != "auto" and may_come(name, loop) for name in names)


def folder_of(evaluators: Mapping[str, BaseEvaluator], name: str, folder: Path) -> Path:
    """Return where an evaluator writes its report: a folder of its own where another one writes files of such names."""
    one, others = evaluators[name], _others(evaluators, name)
    taken = {file for each in others for file in each.files}
    own = one.prefix is None and (_is_alike(one, others) or not taken.isdisjoint(one.files))
    place = folder / (one.prefix or name) if one.prefix or own else folder
    place.mkdir(parents=True, exist_ok=True)
    return place


def _others(evaluators: Mapping[str, BaseEvaluator], name: str) -> list[BaseEvaluator]:
    """Return the other evaluators, without those that have a prefix of their own."""
    return [each for other, each in evaluators.items() if other != name and not each.prefix]


def _is_alike(one: BaseEvaluator, others: list[BaseEvaluator]) -> bool:
    return any(type(each) is type(one) for each in others)
