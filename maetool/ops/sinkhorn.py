"""Assignments that use all clusters equally: the Sinkhorn-Knopp algorithm."""

import torch
import torch.distributed as dist
from torch import Tensor

_TOP = 50.0  # the largest exponent, so that even small ones are far from what float32 takes for zero


@torch.no_grad()
def sinkhorn(scores: Tensor, iterations: int = 3, eps: float = 1e-8, together: bool = True) -> Tensor:
    """Return soft assignments of samples to clusters, such that each cluster gets about as much as every other.

    Each iteration divides by the sums over the samples, of all processes, and then by the sums over the clusters.
    Computed in float32 whatever the autocast, without gradient.
    Source: Cuturi, "Sinkhorn distances" (2013); Caron et al., SwAV (2020); CAPI (facebookresearch/capi), whose numbers
    it gives.

    Args:
        scores: (..., N, K), how near each of the N samples is to each of the K clusters, over the temperature;
            logarithms of probabilities are scores too (MSN). What comes before are problems of their own, such as the
            places of an image.
        iterations: number of iterations; 0 is the softmax over the samples.
        eps: added to the sums.
        together: count the samples of all processes. In validation these may have different numbers of batches, and
            would wait for each other forever: each then has to count its own.

    Returns:
        float32 (..., N, K), each row with the sum 1.
    """
    several = together and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    top = _reduced(scores.float().amax(dim=-2, keepdim=True), dist.ReduceOp.MAX, several)
    shares = torch.exp(scores.float() - top.clamp(min=torch.finfo(torch.float32).min) + _TOP)
    for _ in range(iterations):
        shares = shares / (_reduced(shares.sum(dim=-2, keepdim=True), dist.ReduceOp.SUM, several) + eps)
        shares = shares / (shares.sum(dim=-1, keepdim=True) + eps)
    return shares


def _reduced(values: Tensor, operation: dist.ReduceOp.RedOpType, several: bool) -> Tensor:
    """Return values (..., 1, K) reduced over all processes, if they are `several`."""
    if several:
        dist.all_reduce(values, operation)
    return values
