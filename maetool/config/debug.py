"""Shrinks any config so that its whole path runs in seconds on a CPU."""

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine import Config

from maetool.data.drawn.scene import OUTLINES, TEXTURES
from maetool.data.drawn.shapes_segmentation import CLASSES
from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.ops.geometry import to_size
from maetool.registry import DATASETS, ENCODERS
from maetool.targets import TokenTarget
from maetool.targets.features import TeacherTarget

from .facts import classes_of, loaders_of, schedulers_in, stated, takes

_BATCH, _ITERS, _EPOCHS = 4, 2, 2
# What is drawn, to its number of classes; and what is drawn in place of files, shapes for all others.
_DRAWN = {"ShapesDataset": len(TEXTURES), "ShapesSegmentation": len(CLASSES), "ObjectShapesDataset": len(OUTLINES)}
_IN_PLACE = {"SegmentationDataset": "ShapesSegmentation", "CocoDataset": "ObjectShapesDataset"}
_TINY_DETECTOR = {"channels": 16, "hidden_dim": 32, "anchors_sampled": 16, "regions_sampled": 16, "num_proposals": 16}


def shrink(cfg: Config) -> list[str]:
    """Make `cfg` small in place: two blocks of 16 numbers a head, images of 4 x 4 patches, two epochs of two steps.

    The parts stay those of the config. Data that is not there is replaced by drawn shapes; a teacher by a small encoder
    of the model's own kind and a codebook by one that is drawn, because theirs would not fit.

    maetool's own parts, and subclasses of them, have arguments that are known here. A part of somebody else's is left
    alone but for what its class names in `debug_arguments`, a dict of arguments to small values.

    Returns:
        What was changed, for a person to read.
    """
    encoder = cfg.model.get("encoder")
    for part in mappings([cfg.model, *(loader for _, loader in loaders_of(cfg))]):
        _shrink_part(part)
    if encoder:
        if takes(encoder, ENCODERS, "patch_size") and takes(encoder, ENCODERS, "img_size"):
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
    _shorten(cfg)
    return said


def _shorten(cfg: Config) -> None:
    length = {"max_iters": _EPOCHS * _ITERS, "val_interval": _EPOCHS * _ITERS}
    cfg.train_cfg.update({"max_epochs": _EPOCHS} if cfg.train_cfg.get("max_iters") is None else length)
    cfg.pop("effective_batch_size", None)
    if _is(cfg.optim_wrapper, AutocastOptimWrapper):
        cfg.optim_wrapper.dtype = "float32"
    for scheduler in schedulers_in(cfg):
        if "warmup_epochs" in scheduler:
            scheduler.warmup_epochs = 1


def mappings(node: Any) -> Iterator[Any]:
    """Yield every mapping in a config, at any depth."""
    if isinstance(node, Mapping):
        yield node
    if isinstance(node, Mapping | list | tuple):
        for value in list(node.values()) if isinstance(node, Mapping) else node:
            yield from mappings(value)


def _shrink_part(part: Any) -> None:
    classes = classes_of(part.get("type"))
    bases = [base for cls in classes for base in getattr(cls, "__mro__", ()) if base.__module__.startswith("maetool.")]
    known = {name for base in bases for name in inspect.signature(base).parameters}
    small = _shrunk({name: value for name, value in part.items() if name in known or name == "type"})
    part.update({name: value for name, value in small.items() if name in known})
    part.update({name: value for cls in classes for name, value in getattr(cls, "debug_arguments", {}).items()})


def _shrunk(part: Mapping) -> dict[str, Any]:
    """Return the small values of the arguments of maetool's parts."""
    small: dict[str, Any] = {}
    if "name" in part:  # a timm model, whose name says the rest of its sizes
        small.update(depth=2, embed_dim=32, num_heads=2, patch_size=8)
    if "depth" in part:
        small["depth"] = 2
    if "early_layer" in part:
        small.update(early_layer=1, num_heads=2)
    if "depths" in part:
        small["depths"] = [1] * len(part["depths"])
    if "global_blocks" in part:
        small.update(global_blocks=[1], window_size=2)
    if "layers" in part:
        small["layers"] = [min(layer, 2) for layer in part["layers"]]
    if "layer" in part:
        small["layer"] = min(part["layer"], 2)
    heads = small.get("num_heads", part.get("num_heads"))
    if "embed_dim" in part and heads:
        small["embed_dim"] = 16 * (heads if isinstance(heads, int) else heads[0])
    if part.get("type") == "ObjectDetector":
        small.update(_TINY_DETECTOR)
    if part.get("type") in ("RandomScale", "FitSize"):
        small.update(long_side=128, short_side=64)
    if "width" in part:
        small["width"] = 8
    if "conv_dims" in part:
        small["conv_dims"] = [8] * len(part["conv_dims"])
    return small


def _replace_files(model: Any, encoder: Mapping) -> None:
    for part in mappings(model):
        if "teacher" in part and _is(part, TeacherTarget):
            part["teacher"], part["checkpoint"] = dict(encoder), None
            part.pop("resize", None)
        if "codebook" in part and _is(part, TokenTarget):
            part["codebook"] = 8


def _is(part: Mapping, parent: type) -> bool:
    return any(inspect.isclass(cls) and issubclass(cls, parent) for cls in classes_of(part.get("type")))


def _shrink_loader(name: str, loader: Any) -> list[str]:
    number = _BATCH * _ITERS
    # Images to validate on may differ in size, and then come one by one.
    size = _BATCH if name == "train_dataloader" else min(loader.get("batch_size") or _BATCH, _BATCH)
    loader.batch_size, loader.num_workers = size, 0
    dataset = loader.dataset
    for argument in ("labels_fraction", "labels_per_class"):  # of so few images nothing would be left
        dataset.pop(argument, None)
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
