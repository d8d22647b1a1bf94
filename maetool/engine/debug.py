"""Shrinks any config so that its whole path runs in seconds on a CPU."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine import Config

from maetool.data.scene import OUTLINES, TEXTURES
from maetool.data.shapes_segmentation import CLASSES
from maetool.ops.geometry import to_size
from maetool.registry import DATASETS, ENCODERS, OPTIM_WRAPPERS

from .config import loaders_of, schedulers_in, stated, takes

_BATCH, _ITERS, _EPOCHS = 4, 2, 2
# What is drawn, to its number of classes; and what is drawn in place of files, shapes for all others.
_DRAWN = {"ShapesDataset": len(TEXTURES), "ShapesSegmentation": len(CLASSES), "ObjectShapesDataset": len(OUTLINES)}
_IN_PLACE = {"SegmentationDataset": "ShapesSegmentation", "CocoDataset": "ObjectShapesDataset"}
_TINY_DETECTOR = {"channels": 16, "hidden_dim": 32, "anchors_sampled": 16, "regions_sampled": 16, "num_proposals": 16}


def shrink(cfg: Config) -> list[str]:
    """Make `cfg` small in place: two blocks of 16 numbers a head, images of 4 x 4 patches, two epochs of two steps.

    The parts stay those of the config. Data that is not there is replaced by drawn shapes; a teacher by a small encoder
    of the model's own kind and a codebook by one that is drawn, because theirs would not fit.

    Returns:
        What was changed, for a person to read.
    """
    encoder = cfg.model.encoder
    for part in mappings([cfg.model, *(loader for _, loader in loaders_of(cfg))]):
        _shrink_part(part)
    patch = to_size(stated(encoder, ENCODERS, "patch_size"), "patch_size")
    encoder.img_size = tuple(4 * side * 2 ** (len(encoder.get("depths", [1])) - 1) for side in patch)
    _replace_files(cfg.model, encoder)
    said = ["DEBUG: a tiny model, a few iterations on the CPU; the numbers mean nothing."]
    for name, loader in loaders_of(cfg):
        said += _shrink_loader(name, loader)
        if "num_classes" in cfg.model and loader.dataset.type in _DRAWN:
            cfg.model.num_classes = _DRAWN[loader.dataset.type]
    if cfg.pop("init_from", None):
        said.append("DEBUG: the encoder begins with random weights, because a tiny one fits no checkpoint.")
    _shrink_length(cfg.train_cfg)
    cfg.pop("effective_batch_size", None)
    if takes({"type": "OptimWrapper", **cfg.optim_wrapper}, OPTIM_WRAPPERS, "dtype"):
        cfg.optim_wrapper.dtype = "float32"
    for scheduler in schedulers_in(cfg):
        if "warmup_epochs" in scheduler:
            scheduler.warmup_epochs = 1
    return said


def _shrink_length(train_cfg: Any) -> None:
    if train_cfg.get("max_iters") is None:
        train_cfg.max_epochs = _EPOCHS
    else:
        train_cfg.max_iters = train_cfg.val_interval = _EPOCHS * _ITERS


def mappings(node: Any) -> Iterator[Any]:
    """Yield every mapping in a config, at any depth."""
    if isinstance(node, Mapping):
        yield node
    if isinstance(node, Mapping | list | tuple):
        for value in list(node.values()) if isinstance(node, Mapping) else node:
            yield from mappings(value)


def _shrink_part(part: Any) -> None:
    if "name" in part:  # a timm model, whose name says the rest of its sizes
        part.update(depth=2, embed_dim=32, num_heads=2, patch_size=8)
    if "depth" in part:
        part["depth"] = 2
    if "early_layer" in part:
        part.update(early_layer=1, num_heads=2)
    if "depths" in part:
        part["depths"] = [1] * len(part["depths"])
    if "global_blocks" in part:
        part.update(global_blocks=[1], window_size=2)
    if "layers" in part:
        part["layers"] = [min(layer, 2) for layer in part["layers"]]
    if "layer" in part:
        part["layer"] = min(part["layer"], 2)
    if "embed_dim" in part and "num_heads" in part:
        heads = part["num_heads"]
        part["embed_dim"] = 16 * (heads if isinstance(heads, int) else heads[0])
    if part.get("type") == "ObjectDetector":
        part.update(_TINY_DETECTOR)
    if part.get("type") in ("RandomScale", "FitSize"):
        part.update(long_side=128, short_side=64)
    if "width" in part:
        part["width"] = 8
    if "conv_dims" in part:
        part["conv_dims"] = [8] * len(part["conv_dims"])


def _replace_files(model: Any, encoder: Mapping) -> None:
    for part in mappings(model):
        if "teacher" in part:
            part["teacher"], part["checkpoint"] = dict(encoder), None
            part.pop("resize", None)
        if "codebook" in part:
            part["codebook"] = 8


def _shrink_loader(name: str, loader: Any) -> list[str]:
    number = _BATCH * _ITERS
    # Images to validate on may differ in size, and then come one by one.
    loader.batch_size, loader.num_workers = _BATCH if name == "train_dataloader" else min(loader.batch_size, _BATCH), 0
    dataset = loader.dataset
    for name in ("labels_fraction", "labels_per_class"):  # of so few images nothing would be left
        dataset.pop(name, None)
    said = []
    if "root" in dataset and not Path(dataset.root).exists():
        said = [f"DEBUG: {name}: there is no {dataset.root}, so shapes are drawn instead."]
        drawn = _IN_PLACE.get(dataset.type, "ShapesDataset")
        loader.dataset = {"type": drawn, "num_samples": number, "pipeline": dataset.get("pipeline", [])}
    elif "num_samples" in dataset:
        dataset.num_samples = number
    elif takes(dataset, DATASETS, "limit"):
        dataset.limit = number
    return said
