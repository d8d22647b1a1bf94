"""What a run came to, in a few lines."""

from pathlib import Path

from maetool.visualization.curves import Logs, read_logs
from maetool.weights.work_dir import checkpoints_in


def summarise(work_dir: Path) -> str:
    """Return the first and last loss, the accuracies and where the files of a run are."""
    logs = read_logs(work_dir)
    lines = [
        _change("training loss", logs, "loss", ".3f"),
        _change("validation loss" + ", same masks" * ("val/masked_fraction" in logs), logs, "val/loss", ".3f"),
        _last("loss of a constant predictor", logs, "constant_predictor", ".3f"),
        _change(f"kNN accuracy, {_first(logs)} -> trained", logs, "val/knn", ".1f", " %"),
        _last("kNN accuracy on raw pixels", logs, "val/knn_pixels", ".1f", " %"),
        _change("mean IoU", logs, "val/mean_iou", ".1f", " %"),
        _change("top-1 accuracy", logs, "val/top1", ".1f", " %"),
        _change("mean average precision", logs, "val/mean_average_precision", ".1f", " %"),
        _change("average precision of boxes", logs, "val/box_ap", ".1f", " %"),
        _change("average precision of masks", logs, "val/mask_ap", ".1f", " %"),
    ]
    pictures = sorted((work_dir / "reconstructions").glob("*.png"), key=lambda path: path.stat().st_mtime)
    files = {"reconstruction": pictures[-1:], "loss curve": work_dir.glob("loss_curve.png")}
    files["checkpoint"] = checkpoints_in(work_dir)[:1]
    lines += [f"{name:<36} {path}" for name, paths in files.items() for path in paths]
    return "\n".join(line for line in lines if line)


def _first(logs: Logs) -> str:
    return "untrained" if 0 in logs.get("val/knn", {}) else "first validation"


def _change(title: str, logs: Logs, name: str, form: str, unit: str = "") -> str:
    values = logs.get(name, {})
    if not values:
        return ""
    first, last = values[min(values)], values[max(values)]
    return f"{title:<36} {first:{form}}{unit} -> {last:{form}}{unit}"


def _last(title: str, logs: Logs, name: str, form: str, unit: str = "") -> str:
    values = logs.get(name, {})
    return f"{title:<36} {values[max(values)]:{form}}{unit}" if values else ""
