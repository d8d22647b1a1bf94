"""Draws the loss curve."""

import time
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from maetool.evaluation.names import MetricName, headlines
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS
from maetool.visualization.curves import Logs, draw_curves, read_logs

from .tolerance import training_goes_on


@HOOKS.register_module()
class LossCurveHook(Hook):
    """Writes `loss_curve.png` to the work folder at the end of every `interval`-th epoch and of training.

    It is drawn from the JSON logs, which takes as long as several steps of a small model.

    Args:
        interval: epochs between drawings.
        seconds: least time between drawings; short epochs in between draw nothing.
    """

    priority = "VERY_LOW"

    def __init__(self, interval: int = 1, seconds: float = 10.0) -> None:
        self.interval, self.seconds = interval, seconds
        self._warned, self._drawn = False, time.monotonic()

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Draw."""
        if self.every_n_epochs(runner, self.interval) and time.monotonic() - self._drawn >= self.seconds:
            self.after_train(runner)

    def after_train(self, runner: RunnerLike) -> None:
        """Draw again: the last validation comes after the last epoch."""
        if not is_main_process():
            return
        self._drawn = time.monotonic()
        with training_goes_on(runner, "Drawing the loss curve"):
            logs = read_logs(Path(runner.work_dir))
            if logs:
                draw_curves(logs, Path(runner.work_dir) / "loss_curve.png", measured(logs))
            elif runner.iter and not self._warned:
                self._warned = True
                runner.logger.warning(
                    "There is no loss curve, because the visualizer writes no JSON logs: add dict(type="
                    '"LocalVisBackend") to visualizer.vis_backends.'
                )


def measured(logs: Logs) -> dict[str, MetricName]:
    """Return the headline metrics of the validations in `logs`, except losses, by their name there."""
    names = [name.removeprefix("val/") for name in logs if name.startswith("val/")]
    drawn = {name: entry for name, entry in headlines(names).items() if name not in ("loss", "constant_predictor")}
    return {f"val/{name}": entry for name, entry in drawn.items()}
