"""Decides in which validations of a training an evaluator measures."""

from collections.abc import Mapping
from typing import Any

from mmengine.runner import IterBasedTrainLoop

from maetool.protocols import RunnerLike


def is_due(every: int, runner: RunnerLike, loop: Any) -> bool:
    """Return whether an evaluator measures in this validation; depends only on the training progress.

    Args:
        every: number of validation intervals between measurements.
        runner: the runner.
        loop: the evaluation loop; a test loop measures everything.
    """
    train = runner._train_loop
    if every == 1 or runner._test_loop is loop or isinstance(train, Mapping | None):  # not built yet
        return True
    by_epoch = getattr(train, "by_epoch", not isinstance(train, IterBasedTrainLoop))
    done = train.epoch if by_epoch else train.iter
    return train.iter >= train.max_iters or done % (every * train.val_interval) == 0
