"""The validation loops of 0.1, one for each task, as configs of `ValLoop` and its evaluators."""

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from mmengine import Config

from maetool.messages import print_log

_TASKS = {
    "ClassificationValLoop": {"classes": {"type": "ClassificationEvaluator"}},
    "SegmentationValLoop": {"pixels": {"type": "SegmentationEvaluator"}},
    "DetectionValLoop": {"objects": {"type": "DetectionEvaluator"}},
}
_FEATURES = ("PretrainValLoop", "KnnValLoop")
EARLIER_LOOPS = (*_TASKS, *_FEATURES)
_KEYS = ("k", "temperature", "linear_probe")  # arguments of the loops of features


def as_val_loop(loop: Mapping[str, Any]) -> dict[str, Any]:
    """Return a validation loop of 0.1 as the equivalent `ValLoop`; other loops stay as they are."""
    kind = loop.get("type")
    if kind in _TASKS:
        evaluators: dict[str, Any] = {name: dict(each) for name, each in _TASKS[kind].items()}
    elif kind in _FEATURES:
        evaluators = _of_features(loop, kind == "PretrainValLoop")
    else:
        return dict(loop)
    left = {name: value for name, value in loop.items() if name not in _KEYS}
    return {**left, "type": "ValLoop", "evaluators": evaluators}


def _of_features(loop: Mapping[str, Any], pretraining: bool) -> dict[str, Any]:
    optional = {"optional": True} if pretraining else {}
    evaluators: dict[str, Any] = {"loss": {"type": "LossEvaluator"}} if pretraining else {}
    votes = {name: loop[name] for name in ("k", "temperature") if name in loop}
    evaluators["knn"] = {"type": "KnnEvaluator", **votes, **({"pixels": True} if pretraining else {}), **optional}
    if loop.get("linear_probe"):
        evaluators["linear_probe"] = {"type": "LinearProbeEvaluator", **optional}
    return evaluators


def move_earlier_keys(cfg: Config) -> None:
    """Move the kNN settings of a 0.1 config from `val_cfg` to its evaluators, which the base config now has.

    Args:
        cfg: the config, changed in place.
    """
    loop = cfg.get("val_cfg")
    evaluators = loop.get("evaluators") if isinstance(loop, Mapping) else None
    if not isinstance(evaluators, MutableMapping) or loop.get("type", "ValLoop") != "ValLoop":
        return
    for key in [key for key in _KEYS if key in loop]:
        value, place = loop.pop(key), f"evaluators.knn.{key}"
        if key != "linear_probe":
            evaluators["knn"] = {"type": "KnnEvaluator", **(evaluators.get("knn") or {}), key: value}
        else:
            place = "evaluators.linear_probe"
            evaluators["linear_probe"] = {"type": "LinearProbeEvaluator", "optional": True} if value else None
        print_log(f"val_cfg.{key} is now val_cfg.{place}; the value was moved there.", logging.WARNING)
