"""Warns when data loading is the bottleneck."""

from typing import Any

from mmengine.hooks import Hook

from maetool.protocols import RunnerLike
from maetool.registry import HOOKS


@HOOKS.register_module()
class DataWaitHook(Hook):
    """Warns once when training spends too much of its time waiting for data, and suggests remedies.

    Args:
        threshold: share of the time, from 0 to 1, above which the hook warns.
        window: number of iterations that are averaged, after as many to warm up.
    """

    def __init__(self, threshold: float = 0.3, window: int = 200) -> None:
        self.threshold, self.window = threshold, window
        self._seen = 0

    def after_train_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Compare waiting and total time at the end of each window."""
        self._seen += 1
        timed = "train/data_time" in runner.message_hub.log_scalars  # not without IterTimerHook
        if self._seen < 2 * self.window or self._seen % self.window or self.threshold > 1 or not timed:
            return
        scalar = runner.message_hub.get_scalar
        share = scalar("train/data_time").mean(self.window) / scalar("train/time").mean(self.window)
        if share > self.threshold:
            self.threshold = 2  # warn once
            runner.logger.warning(
                "Training waits for data %.0f %% of its time. Remedies: more workers "
                "(train_dataloader.num_workers, now %d), images stored smaller and on a local disk, cheaper "
                "augmentation.",
                *(100 * share, runner.train_dataloader.num_workers),
            )
