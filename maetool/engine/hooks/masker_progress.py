"""Tells the maskers how far training is."""

from typing import Any

from mmengine.hooks import Hook

from maetool.maskers import Masker
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS


@HOOKS.register_module()
class MaskerProgressHook(Hook):
    """Sets `progress` of every masker to the share of the iterations that are done: what schedules go by."""

    def before_train_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None) -> None:
        """Tell."""
        for module in runner.bare_model.modules():
            if isinstance(module, Masker):
                module.progress = runner.iter / runner.max_iters
