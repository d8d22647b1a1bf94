"""The evaluators of a loop, and prefixes for metrics of equal names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maetool.errors import UsageError
from maetool.registry import METRICS

from .base import BaseEvaluator
from .names import register_metric, register_prefixed


def build_evaluators(evaluators: Mapping[str, Any]) -> dict[str, BaseEvaluator]:
    """Build evaluators by name from configs; an entry that is None is left out.

    Raises:
        UsageError: an entry that is not an evaluator, an unknown evaluator, or an unknown argument.
    """
    built = {name: METRICS.build(each) for name, each in evaluators.items() if each is not None}
    for name, each in built.items():
        if not isinstance(each, BaseEvaluator):
            raise UsageError(
                f"val_cfg.evaluators.{name} is a {type(each).__name__}, which is not an evaluator: use a subclass of "
                "maetool.evaluation.BaseEvaluator; MMEngine's metrics belong in val_evaluator."
            )
        register_metric(type(each))
        register_prefixed(each.prefix or name, each.metric_names)
    return built


def full_names(evaluators: Mapping[str, BaseEvaluator], name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics of an evaluator under their names in the loop, prefixed where necessary.

    Args:
        evaluators: evaluators of the loop, by name.
        name: the evaluator's name.
        metrics: its metrics by name.
    """
    one, others = evaluators[name], _others(evaluators, name)
    taken = {metric for each in others for metric in each.metric_names}
    prefixed = _is_alike(one, others)
    return {
        f"{one.prefix or name}/{key}"
        if one.prefix or (one.prefix is None and (prefixed or key in taken))
        else key: value
        for key, value in metrics.items()
    }


def may_come(metric: Any, loop: Any) -> bool:
    """Return whether a metric may belong to an evaluator that was not due in the last validation of a loop."""
    if not isinstance(metric, str):
        return False
    resting = [(name, loop.evaluators[name]) for name in getattr(loop, "resting", ())]
    prefix, _, tail = metric.rpartition("/")
    return any(
        not each.metric_names or (tail in each.metric_names and prefix in (name, each.prefix, ""))
        for name, each in resting
    )


def must_wait(hook: Any, metrics: Mapping[str, Any], loop: Any) -> bool:
    """Return whether one of MMEngine's hooks monitors a metric whose evaluator was not due in this validation.

    Args:
        hook: that monitors a metric.
        metrics: of this validation, by name.
        loop: of validation.
    """
    followed = getattr(hook, "monitor", None) or getattr(hook, "save_best", None)
    names = followed if isinstance(followed, list | tuple) else [followed]
    return any(name not in metrics and name != "auto" and may_come(name, loop) for name in names)


def folder_of(evaluators: Mapping[str, BaseEvaluator], name: str, folder: Path) -> Path:
    """Return the folder of an evaluator's report: a subfolder if another evaluator writes files of the same names.

    Args:
        evaluators: all of the validation, by name.
        name: whose folder it is.
        folder: of all reports; the subfolder is made.
    """
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
