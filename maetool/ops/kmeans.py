"""k-means."""

from collections.abc import Callable

import torch
from torch import Tensor

_CHUNK = 16384  # vectors that are compared with all centroids at a time, which bounds the memory


def kmeans(
    vectors: Tensor,
    number: int,
    iterations: int = 20,
    seed: int = 0,
    on_iteration: Callable[[float], None] | None = None,
) -> Tensor:
    """Return `number` centroids (K, N) of vectors (M, N) by Lloyd's algorithm, the same ones for the same seed.

    It starts from vectors drawn at random. A centroid without vectors moves to the vector that lies farthest from its
    own centroid.

    Args:
        vectors: float32, at least `number` of them.
        number: K.
        iterations: the maximum; it stops earlier when no centroid moves.
        seed: of the first centroids.
        on_iteration: called after each iteration with the mean squared distance of a vector to its centroid.
    """
    order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(seed), device="cpu")
    centroids = vectors[order[:number].to(vectors.device)].clone()
    for _ in range(iterations):
        distance, nearest = nearest_centroids(vectors, centroids)
        if on_iteration:
            on_iteration(distance.mean().item())
        counts = torch.bincount(nearest, minlength=number)
        sums = torch.zeros_like(centroids).index_add_(0, nearest, vectors)
        empty = (counts == 0).nonzero()[:, 0]
        moved = sums / counts.clamp(min=1)[:, None]
        moved[empty] = vectors[distance.topk(len(empty)).indices]
        if torch.equal(moved, centroids):
            break
        centroids = moved
    return centroids


def nearest_centroids(vectors: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared distance (M,) of each vector (M, N) to its nearest centroid (K, N), and that one's number.

    Args:
        vectors: (M, N).
        centroids: (K, N).
    """
    half = centroids.square().sum(dim=1) / 2
    pairs = [(part @ centroids.T - half).max(dim=1) for part in vectors.split(_CHUNK)]
    score, nearest = (torch.cat([pair[i] for pair in pairs]) for i in range(2))
    return (vectors.square().sum(dim=1) - 2 * score).clamp(min=0), nearest
