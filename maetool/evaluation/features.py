"""Outputs of a model for all samples of a loader."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from mmengine.dist import all_gather
from torch import Tensor
from torch.nn import functional

from maetool.data.datasets.broken_files import own_samples
from maetool.errors import UsageError
from maetool.ops.hog import gradients, orientation_histograms
from maetool.protocols import ModelLike

Features = Callable[[ModelLike, Any], Tensor]


def token_features(model: ModelLike, images: Any) -> Tensor:
    """Return the mean patch token (B, D) of unmasked images (B, C, *size), without prefix tokens.

    A model that pools by itself, such as a classifier, returns its pooled features.

    Args:
        model: the model.
        images: a tensor, or a mapping of streams or views; the model's own view is used, and a tensor is that view.
    """
    tokens = tokens_of(model, images)
    return (tokens if tokens.ndim == 2 else tokens.mean(dim=1)).float()


def tokens_of(model: ModelLike, images: Any) -> Tensor:
    """Return the patch tokens (B, L, D) of unmasked images, without prefix tokens, or of a model that pools (B, D).

    Args:
        model: the model.
        images: see `token_features`.
    """
    view = getattr(model, "view", None)
    images = images if view is None or isinstance(images, Mapping) else {view: images}
    tokens = model(images, mode="tensor")  # (B, T + L, D), or (B, D)
    return tokens if tokens.ndim == 2 else tokens[:, model.encoder.num_prefix_tokens :]


def pixel_features(model: ModelLike, images: Any) -> Tensor:
    """Return the pixels of images (B, C, *size), averaged to at most 32 along each axis, (B, C * numbers).

    They are the baseline without an encoder. Of views, the model's own is used; of streams, all.

    Raises:
        UsageError: ids of codes, which are not pixels.
    """
    if isinstance(images, Mapping):
        view = getattr(model, "view", None)
        shown = list(images.values()) if view is None else [images[view]]
        return torch.cat([pixel_features(model, each) for each in shown], dim=1)
    if images.dtype == torch.int64:
        raise UsageError("The data consists of codes, not of pixels: remove pixels=True from KnnEvaluator.")
    size = [min(side, 32) for side in images.shape[2:]]
    pool: dict[int, Callable[..., Tensor]] = {
        1: functional.adaptive_avg_pool1d,
        2: functional.adaptive_avg_pool2d,
        3: functional.adaptive_avg_pool3d,
    }
    return pool[len(size)](images, size).flatten(1)


@torch.no_grad()
def hog_features(model: ModelLike, images: Tensor) -> Tensor:
    """Return histograms of oriented gradients of images (B, C, H, W), in about 8 x 8 cells, (B, C * 9 * cells).

    They are the baseline of what was known before networks learned features.

    Args:
        model: not used.
        images: the images; rows and columns beyond the last full cell are left out.
    """
    cell = [max(1, side // 8) for side in images.shape[2:]]
    height, width = (side // each * each for side, each in zip(images.shape[2:], cell, strict=True))
    padded = functional.pad(images.float()[..., :height, :width], (1, 1, 1, 1), mode="replicate")
    return orientation_histograms(*gradients(padded), padded.new_ones(()), 9, cell).flatten(1)


def collect_features(model: ModelLike, loader: Iterable[Any], features: Mapping[str, Features]) -> dict[str, Tensor]:
    """Return the features of all samples of a loader, of all processes, on the CPU, in the order of the dataset.

    Args:
        model: a model with a `data_preprocessor`, in evaluation mode.
        loader: yields batches; replacements of broken files are left out.
        features: functions of (model, images), by name.

    Returns:
        Features (N, D) by name, `index` (N,) in the dataset, and if the batches have labels `label`, (N,) or (N, K).
    """
    parts: dict[str, list[Tensor]] = {}
    for data in loader:
        valid = own_samples(data)
        images = model.data_preprocessor(data)["images"]
        outputs = {name: function(model, images).cpu() for name, function in features.items()}
        outputs |= {name: data[name].cpu() for name in ("label", "index") if name in data}
        for name, values in outputs.items():
            parts.setdefault(name, []).append(values[valid])
    gathered = {name: gather_samples(torch.cat(values)) for name, values in parts.items()}
    order = gathered["index"].argsort()
    return {name: values[order] for name, values in gathered.items()}


def gather_samples(values: Tensor) -> Tensor:
    """Return the samples (N, ...) of all processes, one process after another; `values` are those of this one."""
    # Processes may hold different numbers of samples, so they are padded for the exchange and cut afterwards.
    counts = all_gather(torch.tensor([len(values)]))
    longest = int(max(counts))
    padded = torch.cat([values, values.new_zeros(longest - len(values), *values.shape[1:])])
    gathered = all_gather(padded)
    return torch.cat([part[: int(count)] for part, count in zip(gathered, counts, strict=True)])
