"""Shrinks any config so that its whole path runs in seconds on a CPU."""

from pathlib import Path
from typing import Any

from mmengine import Config

from maetool.data.scene import TEXTURES
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
    patch = to_size(stated(encoder, ENCODERS, "patch_size"), "patch_size")
    encoder.img_size = tuple(4 * side for side in patch)
    for part in (encoder, cfg.model.get("decoder", {})):
        if "depth" in part:
            part.depth = 2
        if "embed_dim" in part and "num_heads" in part:
            part.embed_dim = 16 * part.num_heads
    said = ["DEBUG: a tiny model, a few iterations on the CPU; the numbers mean nothing."]
    for name, loader in loaders_of(cfg):
        said += _shrink_loader(name, loader)
        if "num_classes" in cfg.model and loader.dataset.type == "ShapesDataset":
            cfg.model.num_classes = len(TEXTURES)
    if cfg.pop("init_from", None):
        said.append("DEBUG: the encoder begins with random weights, because a tiny one fits no checkpoint.")
    cfg.train_cfg.max_epochs = _EPOCHS
    cfg.pop("effective_batch_size", None)
    cfg.optim_wrapper.dtype = "float32"
    for scheduler in cfg.get("param_scheduler") or ():
        if "warmup_epochs" in scheduler:
            scheduler.warmup_epochs = 1
    return said


def _shrink_loader(name: str, loader: Any) -> list[str]:
    number = _BATCH * _ITERS
    loader.batch_size, loader.num_workers = _BATCH, 0
    dataset = loader.dataset
    for name in ("labels_fraction", "labels_per_class"):  # of so few images nothing would be left
        dataset.pop(name, None)
    said = []
    if "root" in dataset and not Path(dataset.root).exists():
        said = [f"DEBUG: {name}: there is no {dataset.root}, so shapes are drawn instead."]
        loader.dataset = {"type": "ShapesDataset", "num_samples": number, "pipeline": dataset.get("pipeline", [])}
    elif "num_samples" in dataset:
        dataset.num_samples = number
    elif takes(dataset, DATASETS, "limit"):
        dataset.limit = number
    return said
