"""Statistics of patches."""

import torch
from torch import Tensor

EPS = 1e-6  # added to the variance, as in MAE


def patch_stats(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation sqrt(var + 1e-6) of each patch (..., P), both (..., 1) in float32.

    The variance is unbiased (divided by P - 1), as in MAE.
    """
    var, mean = torch.var_mean(patches.float(), dim=-1, keepdim=True)
    return mean, (var + EPS).sqrt()
