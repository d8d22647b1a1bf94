"""Summarises a finished run in a few lines."""

from pathlib import Path

from maetool.evaluation.names import MetricName, headlines
from maetool.visualization.curves import read_logs
from maetool.weights.work_dir import checkpoints_in

_LOSSES = ("loss", "constant_predictor")  # reported by lines of their own
_NUMBER = MetricName("loss")


def summarise(work_dir: Path) -> str:
    """Return the first and last loss, the accuracies and the paths of a run's files.

    Args:
        work_dir: folder of the run.
    """
    logs = read_logs(work_dir)
    lines = [
        _change("training loss", logs.get("loss", {})),
        _change("validation loss" + ", same masks" * ("val/masked_fraction" in logs), logs.get("val/loss", {})),
        _last("loss of a constant predictor", logs.get("constant_predictor", {})),
    ]
    validated = [name.removeprefix("val/") for name in logs if name.startswith("val/")]
    for name, entry in headlines(validated, ("headline", "reference")).items():
        if name not in _LOSSES:
            lines.append(_of_metric(entry, logs[f"val/{name}"]))
    pictures = sorted((work_dir / "reconstructions").glob("*.png"), key=lambda path: path.stat().st_mtime)
    files = {"reconstruction": pictures[-1:], "loss curve": work_dir.glob("loss_curve.png")}
    files["checkpoint"] = checkpoints_in(work_dir)[:1]
    lines += [f"{name:<36} {path}" for name, paths in files.items() for path in paths]
    return "\n".join(line for line in lines if line)


def _of_metric(entry: MetricName, values: dict[int, float]) -> str:
    if entry.role == "reference":
        return _last(entry.words, values, entry)
    first = "untrained" if 0 in values else "first validation"
    return _change(entry.words + f", {first} -> trained" * entry.features, values, entry)


def _change(title: str, values: dict[int, float], entry: MetricName = _NUMBER) -> str:
    if not values:
        return ""
    first, last = (entry.say(float(values[step]), 3) for step in (min(values), max(values)))
    return f"{title:<36} {first} -> {last}"


def _last(title: str, values: dict[int, float], entry: MetricName = _NUMBER) -> str:
    return f"{title:<36} {entry.say(float(values[max(values)]), 3)}" if values else ""
