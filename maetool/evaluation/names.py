"""The one table of metric names: the words, the unit and the better direction of each.

The log, the curves, the summary of a run, `maetool compare`, model cards, `save_best` and early stopping read it.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from maetool.errors import UsageError
from maetool.registry import METRICS, find_part


@dataclass(frozen=True)
class MetricName:
    """Name, unit and direction of a metric.

    Attributes:
        words: its name, as in "kNN accuracy 71.6 %".
        unit: "%" for a value from 0 to 100; empty for a plain number.
        better: "greater" or "less", which values are better; empty if neither is.
        title: its name in a table; if empty, the words.
        role: "headline" is in the log, the curves, the summary of a run and the table of `maetool compare`; "detail" is
            in the log and on model cards only; "reference" is a detail that others are compared with, so the summary
            has it too; "constant" is the same in every validation, and only in the JSON logs.
        features: whether it measures features, so that its value before training is shown too.
    """

    words: str
    unit: Literal["", "%"] = ""
    better: Literal["", "greater", "less"] = ""
    title: str = ""
    role: Literal["headline", "detail", "reference", "constant"] = "headline"
    features: bool = False

    def __post_init__(self) -> None:
        """Check the values of a plugin.

        Raises:
            UsageError: an unknown unit, direction or role.
        """
        for name, known in (("unit", _UNITS), ("better", _BETTER), ("role", _ROLES)):
            if getattr(self, name) not in known:
                raise UsageError(
                    f"The metric {self.words!r} has {name}={getattr(self, name)!r}, but it must be one of "
                    f"{', '.join(map(repr, known))}."
                )

    @property
    def heading(self) -> str:
        """The title of a column of its values, such as "kNN %"."""
        return f"{self.title or self.words} {self.unit}".strip()

    def say(self, value: Any, decimals: int = 4) -> str:
        """Format a value with its unit; `decimals` apply to numbers without a unit."""
        if self.unit and isinstance(value, int | float):
            return f"{value:.1f} {self.unit}"
        return f"{value:.{decimals}f}" if isinstance(value, float) else f"{value}"


_UNITS, _BETTER = ("", "%"), ("", "greater", "less")
_ROLES = ("headline", "detail", "reference", "constant")


def _accuracy(words: str, title: str = "", role: Any = "headline", features: bool = False) -> MetricName:
    return MetricName(words, "%", "greater", title, role, features)


# In the order of tables; the first percentages of a run are drawn beside its loss.
METRIC_NAMES = {
    "top1": _accuracy("top-1 accuracy", "top-1"),
    "mean_average_precision": _accuracy("mean average precision"),
    "mean_iou": _accuracy("mean IoU"),
    "box_ap": _accuracy("box AP"),
    "mask_ap": _accuracy("mask AP"),
    "knn": _accuracy("kNN accuracy", "kNN", features=True),
    "linear_probe": _accuracy("linear probe", features=True),
    "knn_mean_iou": _accuracy("mean IoU of kNN on patches", features=True),
    "probe_top": _accuracy("linear probe on the top subspace", "top subspace", features=True),
    "probe_rest": _accuracy("linear probe on the rest", "rest", features=True),
    "loss": MetricName("loss", better="less", title="validation loss"),
    "constant_predictor": MetricName("constant predictor"),
    "knn_pixels": _accuracy("kNN on raw pixels", role="reference"),
    "probe_top_pixels": _accuracy("linear probe on the top subspace of raw pixels", role="reference"),
    "probe_rest_pixels": _accuracy("linear probe on the rest of raw pixels", role="reference"),
    "top_directions": MetricName("directions of the top subspace", role="detail", features=True),
    "rankme": MetricName("effective rank (RankMe)", role="detail"),
    "feature_deviation": MetricName("deviation of the features", role="detail"),
    "token_similarity": MetricName("similarity of tokens within an image", role="detail"),
    "top5": _accuracy("top-5 accuracy", role="detail"),
    "mean_class_accuracy": _accuracy("mean class accuracy", role="detail"),
    "mean_auroc": _accuracy("mean AUROC", role="detail"),
    "macro_f1": _accuracy("macro F1", role="detail"),
    "calibration_error": MetricName("calibration error", "%", "less", role="detail"),
    "pixel_accuracy": _accuracy("pixel accuracy", role="detail"),
    "mean_pixel_accuracy": _accuracy("mean pixel accuracy", role="detail"),
    "masked_fraction": MetricName("masked fraction", role="constant"),
}
_AP = {"ap50": "AP50", "ap75": "AP75", "ap_small": "AP small", "ap_medium": "AP medium", "ap_large": "AP large"}
_AP |= {"recall": "recall"}
METRIC_NAMES |= {
    f"{kind}_{name}": _accuracy(f"{kind} {words}", role="detail")
    for kind in ("box", "mask")
    for name, words in _AP.items()
}
_registered: dict[str, MetricName] = {}
_classes: dict[Any, None] = {}  # classes of built metrics, which may be unregistered

CONSTANT_METRICS = tuple(name for name, entry in METRIC_NAMES.items() if entry.role == "constant")


def register_metric_name(name: str, entry: MetricName) -> None:
    """Register words, unit and direction of a plugin's metric.

    A metric or evaluator may do the same by a class attribute: `metric_names = {"score": MetricName("my score")}`.

    Args:
        name: the metric's name in the validation, including a prefix.
        entry: its words, unit and direction.

    Raises:
        UsageError: maetool has a different metric of this name.
    """
    own = METRIC_NAMES.get(name)
    if own is not None and own != entry:
        raise UsageError(f"`{name}` is a metric of maetool, {own.words}: choose another name, or a prefix.")
    _registered[name] = entry


def register_metric(cls: Any) -> None:
    """Register the `metric_names` of the class `cls`, which itself may be unregistered."""
    _classes[cls] = None


def register_prefixed(prefix: str, names: Mapping[str, MetricName]) -> None:
    """Register the metrics of an evaluator as "prefix/name" too, with the prefix in brackets after the words.

    Args:
        prefix: of the evaluator.
        names: metric to its entry.
    """
    for name, entry in names.items():
        words, title = (f"{text} ({prefix})" if text else "" for text in (entry.words, entry.title))
        _registered[f"{prefix}/{name}"] = replace(entry, words=words, title=title)


def named(*names: str) -> dict[str, MetricName]:
    """Return entries of the table by their names."""
    return {name: METRIC_NAMES[name] for name in names}


def known_metrics() -> dict[str, MetricName]:
    """Return all registered metrics by name."""
    return {**dict(_of_classes()), **_registered, **METRIC_NAMES}


def _of_classes() -> Iterator[tuple[str, MetricName]]:
    for cls in (*METRICS.parent.module_dict.values(), *METRICS.module_dict.values(), *_classes):
        prefix = getattr(cls, "default_prefix", None)
        for name, entry in getattr(cls, "metric_names", {}).items():
            yield name, entry
            if prefix:
                yield f"{prefix}/{name}", entry


def metric_name(name: str) -> MetricName | None:
    """Return the entry of the metric `name`; None if it is not registered."""
    return METRIC_NAMES.get(name) or known_metrics().get(name)


def headlines(names: Iterable[str], roles: Iterable[str] = ("headline",)) -> dict[str, MetricName]:
    """Return the metrics among `names` that have one of the `roles`, maetool's own first, in the order of the table."""
    names, roles, known = set(names), set(roles), known_metrics()
    order = [*METRIC_NAMES, *(name for name in known if name not in METRIC_NAMES)]
    return {name: known[name] for name in order if name in names and known[name].role in roles}


def is_constant(name: str) -> bool:
    """Return whether the metric `name` is the same in every validation, so that reports leave it out."""
    entry = metric_name(name)
    return entry is not None and entry.role == "constant"


def say_metric(name: str, value: Any) -> str:
    """Return a metric of a validation in words, such as "kNN accuracy 71.6 %".

    Args:
        name: of the metric; one that is not registered is said as it is spelled.
        value: its value.
    """
    entry = metric_name(name)
    if entry is None:
        entry = MetricName(name.replace("_", " "))
    return f"{entry.words} {entry.say(value)}"


def is_better_when(metric: str) -> str:
    """Return "greater" or "less", which values of a metric are better; empty if unknown.

    For an unregistered metric, "loss" or "error" in its name means "less".
    """
    entry = metric_name(metric)
    if entry is not None:
        return entry.better
    return "less" if any(word in metric for word in ("loss", "error")) else ""


def name_evaluators(loop: Any) -> None:
    """Register the metrics of the evaluators in a `val_cfg`, with their names as prefixes.

    Args:
        loop: the config of the loop; nothing happens without evaluators, or with None.
    """
    evaluators = loop.get("evaluators") if isinstance(loop, Mapping) else None
    for name, cfg in (evaluators if isinstance(evaluators, Mapping) else {}).items():
        with suppress(UsageError):  # evaluators that are not installed
            if isinstance(cfg, Mapping) and "type" in cfg:
                names = getattr(find_part(cfg["type"], METRICS), "metric_names", {})
                register_prefixed(cfg.get("prefix") or name, names)
