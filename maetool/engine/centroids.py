"""Fitting the codebook of a token target by k-means."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from mmengine import Config
from mmengine.device import get_device
from torch import Tensor

from maetool.config.debug import mappings
from maetool.config.prepare import prepare_config
from maetool.errors import UsageError
from maetool.ops.kmeans import kmeans
from maetool.registry import DATASETS, MODELS, TARGETS, find_part
from maetool.structures import MaskPlan

_BATCH = 64
_LEAST = 16  # patches per image: with fewer, decoding images would take most of the time


def fit_centroids(
    cfg: Config,
    number: int,
    patches: int = 64,
    iterations: int = 20,
    on_progress: Callable[[str], None] | None = None,
) -> Tensor:
    """Fit centroids (K, N) to the vectors that the source of a config's `TokenTarget` gives for training patches.

    The images are resized and centre-cropped, as for validation.

    Args:
        cfg: config of a model whose target is a `TokenTarget`; its `codebook` is not read.
        number: K, the number of centroids.
        patches: patches per centroid.
        iterations: of k-means.
        on_progress: called with sentences on the progress.

    Raises:
        UsageError: another target, or too few patches in the data.
    """
    if cfg.model.target.get("type") != "TokenTarget":
        raise UsageError(
            f"{cfg.model.target.get('type')} needs no centroids: pass a config whose target is TokenTarget."
        )
    on_progress = on_progress or (lambda sentence: None)
    for part in mappings(cfg.model):
        if isinstance(part.get("codebook"), str):
            part["codebook"] = 2  # the file does not exist yet
    prepare_config(cfg)
    model = MODELS.build(cfg.model).to(get_device()).eval()
    vectors = _vectors(cfg, model, number * patches)
    if len(vectors) < number:
        raise UsageError(f"The training data has {len(vectors):,} patches: ask for fewer centroids than {number:,}.")
    on_progress(f"{len(vectors):,} patches of {vectors.shape[1]} numbers.")
    seed = cfg.get("randomness", {}).get("seed") or 0
    return kmeans(
        vectors, number, iterations, seed, lambda error: on_progress(f"mean squared distance {error:.4f}")
    ).cpu()


def units_of(cfg: Config) -> str | None:
    """Return the units of the pixels whose centroids `cfg` fits; None if the source does not give pixels."""
    return getattr(find_part(cfg.model.target.source["type"], TARGETS), "units", None)


@torch.no_grad()
def _vectors(cfg: Config, model: Any, number: int) -> Tensor:
    """Return up to `number` vectors (number, N): the same number of random patches of each image."""
    dataset = DATASETS.build(_still(cfg.train_dataloader.dataset, model.encoder.img_size))
    cells = prod(model.encoder.grid)
    each = min(cells, max(_LEAST, -(-number // len(dataset))))
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(dataset), generator=generator)[: -(-number // each)].tolist()
    vectors = []
    for start in range(0, len(order), _BATCH):
        inputs = torch.stack([dataset[i]["inputs"] for i in order[start : start + _BATCH]])
        images = model.data_preprocessor({"inputs": inputs})["images"]
        scores = torch.rand(len(images), cells, generator=generator).to(images.device)
        plan = MaskPlan.from_scores(scores, max(1, cells - each), model.encoder.grid)
        plan = plan.predicting("all") if each == cells else plan  # a plan from scores keeps at least one patch visible
        vectors.append(model.target.source(images, plan).flatten(0, 1))
    return torch.cat(vectors)[:number]


def _still(dataset: Any, size: tuple[int, ...]) -> Any:
    """Return the config of the same images without random crops."""
    still = [{"type": "ResizeCenterCrop", "size": size}]
    return {**dataset, "pipeline": still} if dataset.get("pipeline") else dataset
