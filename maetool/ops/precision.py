"""In which precision is computed."""

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """Return numbers in float32; those of float64 stay so, as in a model that somebody turned into float64.

    Args:
        x: of any floating-point dtype.
    """
    return x if x.dtype is torch.float64 else x.float()
