"""Means over the patches of all processes, where these have different numbers of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, distributed

from maetool.ops import device

_shared = False


@contextmanager
def averaged_over_processes() -> Iterator[None]:
    """Let weighted means, see `MaskPlan.average`, be those over the patches of all processes.

    Gradients, which the processes average, are then those of the mean over all patches, and not of a mean of means. All
    processes must compute the same means, as in the forward pass of training.
    """
    global _shared
    before, _shared = _shared, distributed.is_initialized() and distributed.get_world_size() > 1
    try:
        yield
    finally:
        _shared = before


def total_of(weights: Tensor) -> Tensor:
    """Return the sum of weights, or its mean over the processes if they average together.

    Args:
        weights: of the patches of this process.
    """
    total = weights.sum()
    if not _shared:
        return total
    total = total.detach().clone()
    distributed.all_reduce(total)  # queued like a kernel
    return total / distributed.get_world_size()


def may_lack(own: Tensor, together: bool = False) -> bool:
    """Return whether some are False; where reading them waits, that is taken for true.

    Args:
        own: bool, of any shape.
        together: the answer decides whether there are weights, so that processes that average together must agree.
    """
    return (together and _shared) or not device.reading_is_free(own) or not bool(own.all())
