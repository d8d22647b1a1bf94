"""In which validations of a training an evaluator measures."""

from collections.abc import Mapping
from typing import Any

from mmengine.runner import IterBasedTrainLoop

from maetool.protocols import RunnerLike


def is_due(every: int, runner: RunnerLike, loop: Any) -> bool:
    """Return whether an evaluator measures in this validation; it depends on nothing but how far training is.

    Args:
        every: validation intervals from one measurement to the next.
        runner: the runner.
        loop: of the validation; one that tests measures everything.
    """
    train = runner._train_loop
    if every == 1 or runner._test_loop is loop or isinstance(train, Mapping | None):  # which nobody built yet
        return True
    by_epoch = getattr(train, "by_epoch", not isinstance(train, IterBasedTrainLoop))
    done = train.epoch if by_epoch else train.iter
    return train.iter >= train.max_iters or done % (every * train.val_interval) == 0
