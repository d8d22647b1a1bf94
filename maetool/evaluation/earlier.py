"""The validation loops of 0.1, one for each task, as evaluators of `ValLoop`."""

from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log

_TASKS = {
    "ClassificationValLoop": {"classes": {"type": "ClassificationEvaluator"}},
    "SegmentationValLoop": {"pixels": {"type": "SegmentationEvaluator"}},
    "DetectionValLoop": {"objects": {"type": "DetectionEvaluator"}},
}


def evaluators_of(
    loop: type, arguments: Mapping[str, Any], inherited: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the evaluators of a loop of 0.1, or of a subclass of one.

    Args:
        loop: the class.
        arguments: `k`, `temperature` and `linear_probe` of the loops that have them.
        inherited: the `evaluators` that a config has from its bases, which such a loop leaves out and says so.
    """
    own = as_val_loop({"type": next(name for name in _names(loop) if name in _KINDS), **arguments})["evaluators"]
    if inherited:
        print_log(
            f"val_cfg.type={loop.__name__} measures {', '.join(own)} alone, without the config's evaluators "
            f'({", ".join(inherited)}): write type="ValLoop" to have them.',
            "current",
            30,
        )
    return own


def as_val_loop(val_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a validation loop of 0.1 as that of the `ValLoop` that does the same; others as they are."""
    kind = val_cfg.get("type")
    if kind in _TASKS:
        evaluators: dict[str, Any] = {name: dict(each) for name, each in _TASKS[kind].items()}
    elif kind in ("PretrainValLoop", "KnnValLoop"):
        evaluators = _of_features(kind, val_cfg)
    else:
        return dict(val_cfg)
    left = {name: value for name, value in val_cfg.items() if name not in ("k", "temperature", "linear_probe")}
    return {**left, "type": "ValLoop", "evaluators": evaluators}


_KINDS = {*_TASKS, "PretrainValLoop", "KnnValLoop"}


def _names(loop: type) -> list[str]:
    return [base.__name__ for base in loop.__mro__]


def _of_features(kind: str, val_cfg: Mapping[str, Any]) -> dict[str, Any]:
    knn: dict[str, Any] = {"type": "KnnEvaluator"}
    knn |= {name: val_cfg[name] for name in ("k", "temperature") if name in val_cfg}
    extra = {"optional": True} if kind == "PretrainValLoop" else {}
    evaluators: dict[str, Any] = {"loss": {"type": "LossEvaluator"}} if kind == "PretrainValLoop" else {}
    evaluators["knn"] = {**knn, **({"pixels": True} if kind == "PretrainValLoop" else {}), **extra}
    if val_cfg.get("linear_probe"):
        evaluators["linear_probe"] = {"type": "LinearProbeEvaluator", **extra}
    return evaluators
