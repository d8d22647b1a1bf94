"""Reports to the terminal, the log file and the JSON logs."""

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import LoggerHook

from maetool._deprecated import moved
from maetool.evaluation.names import is_constant, say_metric
from maetool.models.operations import operations_per_sample
from maetool.ops.peaks import present_peak
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS

from .tolerance import training_goes_on


@HOOKS.register_module()
class LogHook(LoggerHook):
    """A report every `interval` iterations, and at the first and the last one.

    Args:
        interval: iterations between reports.
    """

    def __init__(self, interval: int = 50) -> None:
        super().__init__(interval=interval, log_metric_by_epoch=False)
        self._counted = False

    def after_train_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Report, marked so that the terminal shows the progress bar instead."""
        if not self._counted and present_peak() and hasattr(runner.log_processor, "operations"):
            runner.log_processor.operations = operations_per_sample(runner.bare_model, data_batch)
        self._counted = True
        if self.reports_at(runner):
            runner.call_hook("read_pending")  # what `ScalarsHook` and the optimiser have not read yet
            tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, "train")
            runner.logger.info(line, extra={"shown_by_progress_bar": True})
            self._store(runner, tag, runner.iter + 1)

    def reports_at(self, runner: RunnerLike) -> bool:
        """Return whether the iteration of `runner` that is in progress is reported at its end."""
        at_an_end = runner.iter == 0 or self.is_last_train_iter(runner)
        return at_an_end or self.every_n_train_iters(runner, self.interval)

    def after_val_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Report nothing: a validation is reported at its end."""

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, Any] | None = None) -> None:
        """Report the metrics of a validation; MMEngine would average them over earlier validations."""
        self._report(runner, "val", "validation", metrics or {})

    def after_test_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Report nothing: a test is reported at its end."""

    def after_test_epoch(self, runner: RunnerLike, metrics: dict[str, Any] | None = None) -> None:
        """Report the metrics of a test."""
        self._report(runner, "test", "test", metrics or {})

    def _report(self, runner: RunnerLike, stage: str, title: str, metrics: dict[str, Any]) -> None:
        shown = [say_metric(name, value) for name, value in metrics.items() if not is_constant(name)]
        runner.logger.info("%s | %s", title, ", ".join(shown) or "no metrics")
        step = 0 if isinstance(runner._train_loop, Mapping | None) else runner.iter
        scalars = {f"{stage}/{name}": value for name, value in metrics.items() if isinstance(value, int | float)}
        self._store(runner, scalars, step)

    def _store(self, runner: RunnerLike, scalars: dict[str, float], step: int) -> None:
        with training_goes_on(runner, "Writing the log"):
            runner.visualizer.add_scalars(scalars, step=step, file_path=self.json_log_path)


__getattr__ = moved(__name__, {"CONSTANT_METRICS": "maetool.evaluation.names.CONSTANT_METRICS"}, "0.3.0")
