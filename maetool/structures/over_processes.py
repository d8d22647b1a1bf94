"""Weighted means over the patches of all processes and of all batches, where these have different numbers of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, distributed
from torch.nn.functional import pad

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


def total_of(weights: Tensor, recorded: bool = True) -> Tensor:
    """Return the sum of weights, by which a weighted mean divides; its mean over processes that average together.

    Args:
        weights: of the patches, pixels or labels of this process.
        recorded: they are of a mean that `recorded_totals` is asked about.
    """
    total = weights.sum()
    if recorded and _totals is not None:
        _totals.append(total.detach())
    if not _shared:
        return total
    total = total.detach().clone()
    distributed.all_reduce(total)  # queued like a kernel
    return total / distributed.get_world_size()


def mean_of_patches(values: Tensor, weight: Tensor | None, together: bool = False) -> Tensor:
    """Return the mean (K,) of values over the patches of a batch, by their weights if they have any; 0 of none.

    Args:
        values: (B, M, K), or (B, T + M, K), whose first T are of the prefix and have the weight 1.
        weight: (B, M), or None.
        together: of the batches of all processes, which must all call it; the mean has their gradients.
    """
    together = together and distributed.is_initialized() and distributed.get_world_size() > 1
    if weight is None:
        mean = values.flatten(0, 1).mean(dim=0) if values.shape[1] else values.new_zeros(values.shape[2])
        return _mean_over_processes(mean) if together else mean
    weight = with_prefix(weight, values.shape[1])[..., None].to(values.dtype)
    total, number = (values * weight).sum(dim=(0, 1)), weight.sum()
    if together:
        total, number = _mean_over_processes(total), _mean_over_processes(number)
    return total / number.clamp(min=1e-6)


def with_prefix(weight: Tensor, number: int) -> Tensor:
    """Return the weights of patches with those of a prefix before them, which are 1; float32 (B, number).

    Args:
        weight: (B, M), of the patches.
        number: T + M, of prefix and patches.
    """
    return pad(weight.float(), (number - weight.shape[1], 0), value=1.0)


def _mean_over_processes(values: Tensor) -> Tensor:
    from torch.distributed.nn.functional import all_reduce  # here, because it is for several processes only

    return all_reduce(values / distributed.get_world_size())


def may_lack(own: Tensor, together: bool = False) -> bool:
    """Return whether some are False; where reading them waits, that is taken for true.

    Args:
        own: bool, of any shape.
        together: the answer decides whether there are weights, so that processes that average together must agree.
    """
    return (together and _shared) or not device.reading_is_free(own) or not bool(own.all())
