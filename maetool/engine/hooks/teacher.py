"""Calls the model's parts after each optimiser step, which updates an EMA teacher."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from torch.optim import Optimizer

from maetool.models import has_following_parts, parts_after_step
from maetool.ops.device import reading_is_free
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS

from .masker_progress import progress_at


@HOOKS.register_module()
class TeacherHook(Hook):
    """Calls `after_step` of the model's parts after each successful optimiser step.

    The runner always has this hook, so a config need not name it. The optimiser itself reports its steps, so iterations
    that only accumulate gradients and steps that the guard or a loss scaler skipped do not count, whatever the loop and
    the optimiser wrapper. See `maetool.models.parts_after_step`.
    """

    priority = "ABOVE_NORMAL"  # before hooks that average or save the weights

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._steps: list[Any] = []  # of this iteration: `found_inf` of each step, a tensor or None

    def before_train(self, runner: RunnerLike) -> None:
        """Register with the optimisers, if a part has `after_step` and no other hook of this class is registered."""
        self.after_train(runner)
        first = next(hook for hook in runner.hooks if isinstance(hook, TeacherHook))
        if first is not self or not has_following_parts(runner.bare_model):
            return
        wrapper = runner.optim_wrapper
        wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        self._handles = [each.optimizer.register_step_post_hook(self._note) for each in wrappers]

    def _note(self, optimizer: Optimizer, *_: Any) -> None:
        # A loss scaler calls a fused optimiser for every step, and the optimiser skips broken steps itself.
        self._steps.append(getattr(optimizer, "found_inf", None))

    def after_train_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Call `after_step` of the parts, if an optimiser made a step in this iteration."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        skipped = None if any(found_inf is None for found_inf in steps) else torch.stack(steps).min() > 0
        if skipped is not None and reading_is_free(skipped):
            if bool(skipped):
                return
            skipped = None
        parts_after_step(runner.bare_model, progress_at(runner, runner.iter), skipped)

    def after_train(self, runner: RunnerLike) -> None:
        """Unregister from the optimisers."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
