"""Updates the training progress of the maskers."""

from typing import Any

from mmengine.hooks import Hook

from maetool.engine.optim.steps import progress_at
from maetool.maskers import Masker
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS


@HOOKS.register_module()
class MaskerProgressHook(Hook):
    """Sets `progress` of every masker, which schedules read, to the share of completed iterations."""

    def before_train_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None) -> None:
        """Set it before each iteration; it is the same in all that make an optimiser step."""
        for module in runner.bare_model.modules():
            if isinstance(module, Masker):
                module.progress = progress_at(runner, runner.iter)
