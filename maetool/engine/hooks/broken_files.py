"""Counts broken image files."""

from typing import Any

from mmengine.hooks import Hook

from maetool.data.datasets.broken_files import BrokenFiles
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS


@HOOKS.register_module()
class BrokenFilesHook(Hook):
    """Logs each broken file once and ends the run when there are too many.

    The dataset's `max_broken` is the largest share allowed; datasets without files are not affected. maetool's
    evaluation loops count by themselves. In MMEngine's loops, whose metrics see the image that replaces a broken one,
    this hook counts as in training.
    """

    def __init__(self) -> None:
        self.files: dict[str, BrokenFiles] = {}  # by stage

    def before_train(self, runner: RunnerLike) -> None:
        """Start counting."""
        self._start(runner, "train", runner.train_dataloader)

    def before_val(self, runner: RunnerLike) -> None:
        """Start counting, unless the loop counts itself."""
        if not hasattr(runner.val_loop, "batches") and "val" not in self.files:
            self._start(runner, "val", runner.val_dataloader)

    def before_test(self, runner: RunnerLike) -> None:
        """Start counting, unless the loop counts itself."""
        if not hasattr(runner.test_loop, "batches"):
            self._start(runner, "test", runner.test_dataloader)

    def _start(self, runner: RunnerLike, stage: str, loader: Any) -> None:
        dataset = loader.dataset
        self.files[stage] = BrokenFiles(getattr(dataset, "max_broken", 1.0), runner.logger, len(dataset))

    def _after_iter(
        self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: Any = None, mode: str = "train"
    ) -> None:
        """Count the broken files of a batch.

        Raises:
            UsageError: too many files are broken.
        """
        if mode in self.files and "skipped" in data_batch:
            self.files[mode].update(data_batch["skipped"], len(data_batch["skipped"]))

    def after_train(self, runner: RunnerLike) -> None:
        """Log the number of broken files."""
        self._sum_up(runner, "train")

    def after_val(self, runner: RunnerLike) -> None:
        """Log the number of broken files."""
        self._sum_up(runner, "val")

    def after_test(self, runner: RunnerLike) -> None:
        """Log the number of broken files."""
        self._sum_up(runner, "test")

    def _sum_up(self, runner: RunnerLike, stage: str) -> None:
        if stage in self.files and self.files[stage].files:
            runner.logger.info(self.files[stage].summary())
