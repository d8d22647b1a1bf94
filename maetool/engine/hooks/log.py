"""Reports to the terminal, the log file and the JSON logs."""

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import LoggerHook

from maetool.registry import HOOKS

from .tolerance import training_goes_on

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


@HOOKS.register_module()
class LogHook(LoggerHook):
    """A report every `interval` iterations, and at the first and the last one.

    Args:
        interval: iterations between reports.
    """

    def __init__(self, interval: int = 50) -> None:
        super().__init__(interval=interval, log_metric_by_epoch=False)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Report, marked so that the progress bar can stand for it on the terminal."""
        due = runner.iter == 0 or self.is_last_train_iter(runner)
        if due or self.every_n_train_iters(runner, self.interval):
            tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, "train")
            runner.logger.info(line, extra={"shown_by_progress_bar": True})
            self._store(runner, tag, runner.iter + 1)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Report nothing: a validation is reported as a whole."""

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        """Report the metrics of a validation, each as it is: MMEngine would average over earlier validations."""
        self._report(runner, "val", "validation", metrics or {})

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Report nothing: a test is reported as a whole."""

    def after_test_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        """Report the metrics of a test."""
        self._report(runner, "test", "test", metrics or {})

    def _report(self, runner: Any, stage: str, title: str, metrics: dict[str, Any]) -> None:
        shown = [say_metric(name, value) for name, value in metrics.items() if name not in CONSTANT_METRICS]
        runner.logger.info("%s | %s", title, ", ".join(shown) or "no metrics")
        step = 0 if isinstance(runner._train_loop, Mapping | None) else runner.iter
        scalars = {f"{stage}/{name}": value for name, value in metrics.items() if isinstance(value, int | float)}
        self._store(runner, scalars, step)

    def _store(self, runner: Any, scalars: dict[str, float], step: int) -> None:
        with training_goes_on(runner, "Writing the log"):
            runner.visualizer.add_scalars(scalars, step=step, file_path=self.json_log_path)
