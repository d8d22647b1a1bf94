"""Writes checkpoints atomically, and removes an old one only after a newer one is complete."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from maetool.errors import UsageError
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS
from maetool.weights.work_dir import POINTER, checkpoints_in
from maetool.writing import remove_file, remove_leftovers

from .best import BestCheckpoint
from .tolerance import training_goes_on

_OWN_NAME = re.compile(r"(epoch|iter)_\d+\.pth")
_TRIES = 3


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Writes a checkpoint at the end of every `interval`-th epoch, of the last epoch, and when the run stops early.

    The pointer to the last checkpoint moves after the file is complete, and older files are removed after that. If a
    checkpoint cannot be written, training continues until the next one; the run ends when three in a row, the last one,
    or that of a stop cannot be written.

    Args:
        interval: epochs between checkpoints.
        every_n_iters: iterations between additional checkpoints within an epoch; 0 for none.
        keep: number of newest checkpoints to keep, at least 2; -1 keeps all.
        save_best: a validation metric, whose best weights are kept in addition as `best_METRIC_epoch_N.pth` (or
            `iter_N`), without the optimiser; "auto" is the first metric that has a rule; None for none.
        rule: "greater" or "less", what is better; None uses maetool's table of metrics.
        asynchronous: write while training goes on, from a copy of the checkpoint in the memory of the host: three times
            the weights with Adam. The next checkpoint waits for it and reports a failure. The last checkpoint, that of
            a stop and the best one are waited for.

    Raises:
        UsageError: an invalid number or rule, or a metric that the validation does not have.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        interval: int = 1,
        every_n_iters: int = 0,
        keep: int = 2,
        save_best: str | None = None,
        rule: str | None = None,
        asynchronous: bool = False,
    ) -> None:
        if interval < 1 or every_n_iters < 0 or (keep < 2 and keep != -1):
            raise UsageError(
                f"SafeCheckpointHook got interval={interval}, every_n_iters={every_n_iters}, keep={keep}: "
                "interval must be at least 1, every_n_iters at least 0, and keep at least 2, or -1 for all."
            )
        self.interval, self.every_n_iters, self.keep = interval, every_n_iters, keep
        self.asynchronous = asynchronous
        self._best = BestCheckpoint(save_best, rule) if save_best else None
        self._written: list[Path] = []
        self._failures = 0

    def before_train(self, runner: RunnerLike) -> None:
        """Find the checkpoints of a resumed run, and remove the leftovers of interrupted writes."""
        if is_main_process():
            folder = Path(runner.work_dir)
            self._written = [path for path in checkpoints_in(folder)[::-1] if _OWN_NAME.fullmatch(path.name)]
            remove_leftovers(folder, ".pth")
            remove_leftovers(folder, POINTER)
            warn_if_little_room(runner, 2)

    def after_train_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save inside an epoch, every `every_n_iters` iterations."""
        if self.every_n_iters and self.every_n_train_iters(runner, self.every_n_iters):
            self._try(runner, f"iter_{runner.iter + 1}.pth", runner.epoch, runner.iter + 1)

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Save at the end of an epoch; an iteration-based run may end within one."""
        complete = runner.iter == (runner.epoch + 1) * len(runner.train_dataloader)
        name = f"epoch_{runner.epoch + 1}.pth" if complete else f"iter_{runner.iter}.pth"
        if self.is_last_train_epoch(runner):
            self._finish(runner)
            self._save(runner, name, runner.epoch + complete, runner.iter)
        elif self.every_n_epochs(runner, self.interval):
            self._try(runner, name, runner.epoch + complete, runner.iter)

    def before_stop(self, runner: RunnerLike) -> None:
        """Save when a stop is requested, unless the last iteration is already saved.

        Args:
            runner: that trains.
        """
        self._finish(runner)
        if runner.last_saved[0] != runner.iter:
            self._save(runner, f"iter_{runner.iter}.pth", runner.epoch, runner.iter)

    def after_train(self, runner: RunnerLike) -> None:
        """Save the last iteration of a run that a hook such as `EarlyStoppingHook` ended."""
        self._finish(runner)
        if runner.train_loop.stop_training and runner.last_saved[0] != runner.iter:
            self._save(runner, f"iter_{runner.iter}.pth", runner.epoch, runner.iter)

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, Any] | None = None) -> None:
        """Keep the weights if they are the best so far; a run that only validates saves nothing."""
        if self._best is not None and not isinstance(runner._train_loop, Mapping | None):
            self._best.update(runner, metrics or {})

    def _try(self, runner: RunnerLike, name: str, epoch: int, iteration: int) -> None:
        self._finish(runner)
        if self.asynchronous:
            runner.begin_saving(name, {"epoch": epoch, "iter": iteration})
            return
        with self._counting_failures(runner):
            self._save(runner, name, epoch, iteration)

    def _finish(self, runner: RunnerLike) -> None:
        """Wait for the checkpoint that is being written, if any."""
        if self.asynchronous:
            with self._counting_failures(runner):
                self._note(runner, runner.finish_saving())

    @contextmanager
    def _counting_failures(self, runner: RunnerLike) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            self._failures += 1
            if self._failures == _TRIES:
                raise
            runner.logger.error("%s Training continues; the next checkpoint is tried as planned.", error)

    def _save(self, runner: RunnerLike, name: str, epoch: int, iteration: int) -> None:
        runner.save_checkpoint(runner.work_dir, name, meta={"epoch": epoch, "iter": iteration})
        self._note(runner, Path(runner.work_dir) / name)

    def _note(self, runner: RunnerLike, path: Path | None) -> None:
        """Remove old checkpoints once the file `path` is complete; None, if there is none."""
        if path is None:
            return
        self._failures = 0
        if is_main_process():
            self._written = [old for old in self._written if old != path] + [path]
            while self.keep != -1 and len(self._written) > self.keep:
                old = self._written.pop(0)
                with training_goes_on(runner, f"Removing {old}"):
                    remove_file(old)


def warn_if_little_room(runner: RunnerLike, number: int) -> None:
    """Warn if the disk of a run has no room for its checkpoints, each with weights and Adam's two moments.

    Args:
        runner: whose `work_dir` is looked at.
        number: of checkpoints that lie there at a time.
    """
    # Not from the state dict: building that on one rank alone would block a sharded model.
    size = 3 * sum(value.numel() * value.element_size() for value in runner.bare_model.parameters())
    free = shutil.disk_usage(runner.work_dir).free
    if free < number * size:
        runner.logger.warning(
            "%s has %.1f GB free, but a checkpoint takes about %.1f GB and %d must fit at a time: make room, or choose "
            "another --work-dir.",
            *(runner.work_dir, free / 1e9, size / 1e9, number),
        )
