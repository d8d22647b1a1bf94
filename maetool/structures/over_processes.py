"""Weighted means over the patches of all processes and of all batches, where these have different numbers of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, distributed

from maetool.ops import device

_shared = False
_totals: list[Tensor] | None = None


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


@contextmanager
def recorded_totals() -> Iterator[list[Tensor]]:
    """Give a list that gets the sum of the weights of each weighted mean that is computed meanwhile.

    The mean of a set is that of its batches, weighted by these.
    """
    global _totals
    before, _totals = _totals, []
    try:
        yield _totals
    finally:
        _totals = before


def total_of(weights: Tensor) -> Tensor:
    """Return the sum of weights, by which a weighted mean divides; its mean over processes that average together.

    Args:
        weights: of the patches, pixels or labels of this process.
    """
    total = weights.sum()
    if _totals is not None:
        _totals.append(total.detach())
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
