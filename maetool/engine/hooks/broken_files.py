"""Counts the broken image files that the loader passed over."""

from typing import Any

from mmengine.hooks import Hook

from maetool.data.broken_files import BrokenFiles
from maetool.registry import HOOKS


@HOOKS.register_module()
class BrokenFilesHook(Hook):
    """Names each broken file once in the log and stops the run when there are too many.

    The share that is too much is the dataset's `max_broken`; datasets without files need nothing.
    """

    def before_train(self, runner: Any) -> None:
        """Start counting."""
        dataset = runner.train_dataloader.dataset
        self.files = BrokenFiles(getattr(dataset, "max_broken", 1.0), runner.logger, len(dataset))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Count what the batch passed over.

        Raises:
            UsageError: too many files are broken.
        """
        if "skipped" in data_batch:
            self.files.update(data_batch["skipped"], len(data_batch["skipped"]))

    def after_train(self, runner: Any) -> None:
        """Say how many there were."""
        if self.files.files:
            runner.logger.info(self.files.summary())
