"""Writes checkpoints, and removes an old one only when a newer one is safe."""

import re
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from maetool.engine.checkpoint import checkpoints_in, save_as_last
from maetool.errors import UsageError
from maetool.registry import HOOKS

_OURS = re.compile(r"(epoch|iter)_\d+\.pth")


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Writes a checkpoint at the end of every `interval`-th epoch, and of the last.

    The pointer to the last checkpoint moves after the file is complete, and older ones are removed after that.

    Args:
        interval: epochs between checkpoints.
        every_n_iters: iterations between further checkpoints inside an epoch; 0 for none.
        keep: how many of the newest to keep, at least 2; -1 keeps all.

    Raises:
        UsageError: a number that makes no sense.
    """

    priority = "VERY_LOW"

    def __init__(self, interval: int = 1, every_n_iters: int = 0, keep: int = 2) -> None:
        if interval < 1 or every_n_iters < 0 or (keep < 2 and keep != -1):
            raise UsageError(
                f"SafeCheckpointHook got interval={interval}, every_n_iters={every_n_iters}, keep={keep}: "
                "interval must be at least 1, every_n_iters at least 0, and keep at least 2, or -1 for all."
            )
        self.interval, self.every_n_iters, self.keep = interval, every_n_iters, keep
        self._written: list[Path] = []

    def before_train(self, runner: Any) -> None:
        """Take over the checkpoints of the run that is resumed, and remove what a killed write left."""
        if is_main_process():
            folder = Path(runner.work_dir)
            self._written = [path for path in checkpoints_in(folder)[::-1] if _OURS.fullmatch(path.name)]
            for leftover in folder.glob(".*.pth.*.tmp"):
                leftover.unlink(missing_ok=True)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save inside an epoch, if that was asked for."""
        if self.every_n_iters and self.every_n_train_iters(runner, self.every_n_iters):
            self._save(runner, f"iter_{runner.iter + 1}.pth", by_epoch=False)

    def after_train_epoch(self, runner: Any) -> None:
        """Save at the end of an epoch."""
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self._save(runner, f"epoch_{runner.epoch + 1}.pth", by_epoch=True)

    def _save(self, runner: Any, name: str, by_epoch: bool) -> None:
        folder = Path(runner.work_dir)
        runner.save_checkpoint(folder, name, by_epoch=by_epoch)
        if not is_main_process():
            return
        save_as_last(folder, name)
        runner.message_hub.update_info("last_ckpt", name)
        self._written = [path for path in self._written if path != folder / name] + [folder / name]
        while self.keep != -1 and len(self._written) > self.keep:
            self._written.pop(0).unlink(missing_ok=True)
