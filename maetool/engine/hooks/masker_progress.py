"""The progress of a training, which maskers, teachers and heads follow."""

from typing import Any

from mmengine.hooks import Hook

from maetool.engine.optim.steps import first_of
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


def progress_at(runner: RunnerLike, iteration: int) -> float:
    """Return the share of training that is over before an iteration, in [0, 1]; the same in all of an optimiser step.

    So a step of two accumulated halves of a batch is that of the whole one, whatever follows the progress.

    Args:
        runner: that trains.
        iteration: counted from 0.
    """
    together = getattr(first_of(runner.optim_wrapper), "_accumulative_counts", 1)
    return (iteration - iteration % together) / runner.max_iters
