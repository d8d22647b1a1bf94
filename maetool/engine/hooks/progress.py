"""A progress bar on a terminal."""

import sys
from contextlib import ExitStack
from typing import Any

from mmengine.hooks import Hook
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from maetool.protocols import RunnerLike
from maetool.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows progress, loss, images per second and the time left while training runs on a terminal.

    Elsewhere (a log file, a pipe) `LogHook` reports the same, line by line.

    Args:
        refresh: iterations between updates of the numbers beside the bar.
    """

    def __init__(self, refresh: int = 10) -> None:
        self.refresh = refresh
        self._open = ExitStack()
        self._bar: tqdm | None = None

    def before_train(self, runner: RunnerLike) -> None:
        """Show the bar, on the terminal of the first process only."""
        if runner.rank == 0 and sys.stderr is not None and sys.stderr.isatty():  # None is a closed stream
            self._open.enter_context(logging_redirect_tqdm([runner.logger]))
            for handler in runner.logger.handlers:
                if type(handler).__name__.endswith("TqdmLoggingHandler"):
                    handler.addFilter(lambda record: not getattr(record, "shown_by_progress_bar", False))
            bar = tqdm(total=runner.max_iters, initial=runner.iter, unit="step", dynamic_ncols=True)
            self._bar = self._open.enter_context(bar)

    def after_train_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Move the bar."""
        if self._bar is None:
            return
        if self.every_n_train_iters(runner, self.refresh):
            self._bar.set_postfix_str(self._numbers(runner), refresh=False)
        self._bar.update()

    def _numbers(self, runner: RunnerLike) -> str:
        recent = {name: values.mean(self.refresh) for name, values in runner.message_hub.log_scalars.items()}
        loss = f"loss {recent['train/loss']:.3f}" if "train/loss" in recent else ""
        if "train/time" not in recent:  # a config may leave out IterTimerHook
            return loss
        return f"{loss}, {runner.train_dataloader.batch_size * runner.world_size / recent['train/time']:,.0f} images/s"

    def after_train(self, runner: RunnerLike) -> None:
        """Close the bar."""
        self._open.close()
        self._bar = None
