"""Shrinks any config so that its whole path runs in seconds on a CPU."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine import Config

from maetool.ops.geometry import to_size
from maetool.registry import DATASETS, ENCODERS

from .config import loaders_of, stated, takes

_BATCH, _ITERS, _EPOCHS = 4, 2, 2


def shrink(cfg: Config) -> list[str]:
    """Make `cfg` small in place: two blocks of 16 numbers a head, images of 4 x 4 patches, two epochs of two steps.

    The parts stay those of the config. Data that is not there is replaced by drawn shapes.

    Returns:
        What was changed, for a person to read.
    """
    encoder = cfg.model.encoder
    for part in (encoder, *_dicts(cfg.model.get("decoder", {}))):
        _shrink_part(part)
    patch = to_size(stated(encoder, ENCODERS, "patch_size"), "patch_size")
    encoder.img_size = tuple(4 * side * 2 ** (len(encoder.get("depths", [1])) - 1) for side in patch)
    said = ["DEBUG: a tiny model, a few iterations on the CPU; the numbers mean nothing."]
    for name, loader in loaders_of(cfg):
        said += _shrink_loader(name, loader)
    cfg.train_cfg.max_epochs = _EPOCHS
    cfg.pop("effective_batch_size", None)
    cfg.optim_wrapper.dtype = "float32"
    for scheduler in cfg.get("param_scheduler") or ():
        if "warmup_epochs" in scheduler:
            scheduler.warmup_epochs = 1
    return said


def _shrink_part(part: Any) -> None:
    if "name" in part:  # a timm model, which states the rest of its sizes by its name
        part.update(depth=2, embed_dim=32, num_heads=2, patch_size=8)
    for depth in ("depth", "depths"):
        if depth in part:
            part[depth] = 2 if depth == "depth" else [1] * len(part.depths)
    if "layers" in part:
        part.layers = [min(layer, 2) for layer in part.layers]
    if "embed_dim" in part and "num_heads" in part:
        heads = part.num_heads
        part.embed_dim = 16 * (heads if isinstance(heads, int) else heads[0])
    if "conv_dims" in part:
        part.conv_dims = [8] * len(part.conv_dims)


def _dicts(node: Any) -> Iterator[Any]:
    """Yield every mapping within a part's config, itself included."""
    if isinstance(node, Mapping):
        yield node
        for value in node.values():
            yield from _dicts(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _dicts(value)


def _shrink_loader(name: str, loader: Any) -> list[str]:
    number = _BATCH * _ITERS
    loader.batch_size, loader.num_workers = _BATCH, 0
    dataset = loader.dataset
    said = []
    if "root" in dataset and not Path(dataset.root).exists():
        said = [f"DEBUG: {name}: there is no {dataset.root}, so shapes are drawn instead."]
        loader.dataset = {"type": "ShapesDataset", "num_samples": number, "pipeline": dataset.get("pipeline", [])}
    elif "num_samples" in dataset:
        dataset.num_samples = number
    elif takes(dataset, DATASETS, "limit"):
        dataset.limit = number
    return said
