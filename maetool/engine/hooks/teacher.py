"""Lets the teacher follow the encoder."""

from typing import Any

from mmengine.hooks import Hook

from maetool.engine.optim import report_of
from maetool.registry import HOOKS
from maetool.targets import MomentumFeatureTarget


@HOOKS.register_module()
class TeacherHook(Hook):
    """Moves the averaged encoder of every `MomentumFeatureTarget` after each optimiser step that was made."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Move, unless gradients are still being gathered or the step was left out."""
        if not runner.optim_wrapper.should_update() or report_of(runner.optim_wrapper).skipping:
            return
        model = runner.bare_model
        for module in model.modules():
            if isinstance(module, MomentumFeatureTarget):
                module.follow(model.encoder, runner.iter / runner.max_iters)
