"""What features are like: principal components of patches, nearest neighbours, a map and clusters of images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maetool.errors import UsageError
from maetool.ops.kmeans import kmeans, nearest_centroids

from .pictures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SAMPLED = 100_000  # vectors that principal components are computed of
_AT_ONCE = 2**26  # float32 similarities
_OUTLIERS = 0.02  # share of the values at each end that are shown as the darkest and brightest


def principal_components(vectors: Tensor, number: int = 3) -> Tensor:
    """Return the first principal components of vectors (N, D) as (N, number), of largest variance first.

    Their signs are such that the largest value of each is positive. Components that do not exist are 0.

    Args:
        vectors: at least one; of more than 100,000 the directions are those of as many, evenly spaced.
        number: of components.
    """
    values = vectors.detach().cpu().double()
    step = -(-len(values) // _SAMPLED)
    sample = values[::step]
    mean = sample.mean(dim=0)
    _, _, directions = torch.linalg.svd(sample - mean, full_matrices=False)
    found = (values - mean) @ directions[:number].T
    signs = found.gather(0, found.abs().argmax(dim=0, keepdim=True)).sign()
    return functional.pad(found * signs, (0, number - found.shape[1])).float()


@torch.no_grad()
def patch_components(encoder: Any, images: Tensor) -> Tensor:
    """Return the three first principal components of the patch tokens of a batch as colours, (B, h, w, 3), 0 to 1.

    Patches with similar features have similar colours, across the images too. As in Oquab et al., "DINOv2: learning
    robust visual features without supervision" (2023), figure 1, without the threshold for the background.

    Args:
        encoder: from images to tokens (B, T + L, D), such as `VisionTransformer`, `SwinTransformer`, `TimmEncoder`,
            or the result of `maetool.load_encoder`.
        images: (B, C, H, W), normalised, see `maetool.load_encoder(...).normalise`.

    Raises:
        UsageError: an encoder that gives no tokens in rows and columns.
    """
    encoder = bare(encoder)
    prefix, grid_of = getattr(encoder, "num_prefix_tokens", 0), getattr(encoder, "grid_of", None)
    tokens = encoder(images)
    if grid_of is None or not isinstance(tokens, Tensor) or tokens.ndim != 3:
        raise UsageError(f"{type(encoder).__name__} gives no tokens in rows and columns: use VisionTransformer.")
    grid = _token_grid(encoder, tuple(grid_of(images)), tokens.shape[1] - prefix)
    colours = principal_components(tokens[:, prefix:].flatten(0, 1))
    low, high = (colours.quantile(share, dim=0) for share in (_OUTLIERS, 1 - _OUTLIERS))
    return ((colours - low) / (high - low).clamp(min=1e-9)).clamp(0, 1).view(len(images), *grid, 3)


def bare(model: Any) -> Any:
    """Return the encoder in what `load_encoder` returns, or in a model; an encoder as it is."""
    return getattr(model, "encoder", model)


def _token_grid(encoder: Any, grid: tuple[int, ...], tokens: int) -> tuple[int, ...]:
    """Return the grid of the tokens, which in the last stage of a hierarchical encoder is that of several patches."""
    factor = 1
    while len(grid) == 2 and all(side % factor == 0 for side in grid):
        if (grid[0] // factor) * (grid[1] // factor) == tokens:
            return grid[0] // factor, grid[1] // factor
        factor *= 2
    raise UsageError(f"{type(encoder).__name__} gives {tokens} tokens of a grid of {grid}, not rows and columns.")


def nearest_neighbours(features: Tensor, number: int = 5, queries: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return which images have the most similar features, and their cosine similarity, both (Q, k), nearest first.

    Args:
        features: (N, D).
        number: k of each image, without itself; at most N - 1.
        queries: int64 (Q,), the images that are asked for; None asks for all.
    """
    units = functional.normalize(features.float(), dim=1)
    queries = torch.arange(len(units)) if queries is None else queries
    number = min(number, len(units) - 1)
    pairs = []
    for part in queries.split(max(1, _AT_ONCE // len(units))):
        similarity = units[part] @ units.T
        similarity[torch.arange(len(part)), part] = -torch.inf  # itself
        pairs.append(similarity.topk(number, dim=1))
    return torch.cat([pair.indices for pair in pairs]), torch.cat([pair.values for pair in pairs])


def clusters(features: Tensor, number: int = 10, seed: int = 0) -> Tensor:
    """Return the cluster of each image, int64 (N,), the largest one first: k-means on features (N, D) of length 1.

    Args:
        features: one row for each image.
        number: of clusters, at most N; those without images are left out.
        seed: of the first centroids.
    """
    units = functional.normalize(features.float(), dim=1)
    _, nearest = nearest_centroids(units, kmeans(units, min(number, len(units)), seed=seed))
    used = nearest.bincount().argsort(descending=True, stable=True)
    return used.argsort()[nearest]


def evenly_spread(features: Tensor, number: int) -> Tensor:
    """Return `number` images that differ most, int64, by their features (N, D): each is the farthest from the others.

    The first one is the nearest to the mean (farthest point sampling).
    """
    units = functional.normalize(features.float(), dim=1)
    chosen = [int((units @ units.mean(dim=0)).argmax())]
    nearest = units @ units[chosen[0]]
    while len(chosen) < min(number, len(units)):
        chosen.append(int(nearest.argmin()))
        nearest = torch.maximum(nearest, units @ units[chosen[-1]])
    return torch.tensor(chosen)


def map_figure(points: Tensor, groups: Tensor | None = None, names: Sequence[str] = ()) -> "Figure":
    """Draw a map of images, one dot each, coloured by group.

    Args:
        points: (N, 2), such as the result of `principal_components(features, 2)`.
        groups: int64 (N,), such as labels or `clusters`; None draws all alike.
        names: of the groups; more than 20 have no legend.
    """
    figure = new_figure(7, 5)
    axes = figure.add_subplot()
    groups = torch.zeros(len(points), dtype=torch.int64) if groups is None else groups
    colours = _colours(int(groups.max()) + 1)
    for group in groups.unique().tolist():
        inside = points[groups == group]
        label = names[group] if group < len(names) else None
        axes.scatter(inside[:, 0], inside[:, 1], s=9, color=colours[group], alpha=0.7, linewidths=0, label=label)
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.grid(alpha=0.3)
    if 0 < len(names) <= 20:
        figure.legend(loc="outside right upper", fontsize=8, markerscale=2, frameon=False)
    return figure


def _colours(number: int) -> np.ndarray:
    """Return `number` colours that differ, RGB from 0 to 1; more than 20 repeat."""
    from matplotlib import colormaps

    return np.array([colormaps["tab10" if number <= 10 else "tab20"](i % 20)[:3] for i in range(number)])
