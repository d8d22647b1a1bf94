"""What metrics are called in words, and which of two values is the better one."""

from typing import Any

_FORMS = {
    "knn": "kNN accuracy {:.1f} %",
    "knn_pixels": "kNN on raw pixels {:.1f} %",
    "linear_probe": "linear probe {:.1f} %",
    "mean_iou": "mean IoU {:.1f} %",
    "pixel_accuracy": "pixel accuracy {:.1f} %",
    "mean_pixel_accuracy": "mean pixel accuracy {:.1f} %",
    "top1": "top-1 {:.1f} %",
    "top5": "top-5 {:.1f} %",
    "mean_class_accuracy": "mean class accuracy {:.1f} %",
    "mean_average_precision": "mean average precision {:.1f} %",
    "mean_auroc": "mean AUROC {:.1f} %",
    "calibration_error": "calibration error {:.1f} %",
}
_AP = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "ap_small": "AP small", "ap_medium": "AP medium"}
_AP |= {"ap_large": "AP large", "recall": "recall"}
_FORMS |= {f"{kind}_{name}": f"{kind} {said} {{:.1f}} %" for kind in ("box", "mask") for name, said in _AP.items()}

CONSTANT_METRICS = ("masked_fraction",)  # the same in every validation


def say_metric(name: str, value: Any) -> str:
    """Return a metric of a validation in words, such as "kNN accuracy 71.6 %"."""
    other = name.replace("_", " ") + (" {:.4f}" if isinstance(value, float) else " {}")
    return _FORMS.get(name, other).format(value)


def is_better_when(metric: str) -> str:
    """Return "greater" or "less" for a metric of maetool, and an empty string for one that it does not know."""
    if any(word in metric for word in ("loss", "error")):
        return "less"
    return "greater" if metric in _FORMS else ""
