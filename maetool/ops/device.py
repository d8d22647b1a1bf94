"""What a device costs."""

from torch import Tensor


def reading_is_free(x: Tensor) -> bool:
    """Return whether numbers of a tensor can be read without waiting for kernels that are queued.

    Args:
        x: whose device decides: only on a CPU nothing is queued.
    """
    return x.device.type == "cpu"
