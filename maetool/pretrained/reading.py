"""How images are read for a trained model: as those of its training were."""

import logging
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any

import torch
from mmengine import Config
from torch import Tensor, nn

from maetool.annotations import fits
from maetool.config.debug import mappings
from maetool.config.facts import datasets_in, loaders_of, takes
from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.codecs.images import UnreadableImage, read_image
from maetool.data.codecs.options import ReadOptions
from maetool.data.datasets.source_dataset import checked_nodata, fill_nodata
from maetool.errors import UsageError
from maetool.messages import print_log
from maetool.metadata.stored_config import read_section
from maetool.registry import DATASETS
from maetool.weights.read import read_checkpoint

from .model import picture_shape_of

# Deviations of single pixels between the mean of an image and that of all: those of an image of the same unit are few.
_FAR = 20
_BRIGHTEST = 255  # of 8 bits; the deviation of such images is at most half of it
# Options of datasets that say what the pixels of a file are, with their types and what is meant without them.
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "exif": (bool, False),
    "eight_bit": (bool, False),
    "nodata": (float | str | None, None),
}


def reading_in(meta: Any) -> dict[str, Any]:
    """Return the options other than the defaults by which a checkpoint's training read its images.

    Args:
        meta: metadata of an untrusted checkpoint; values of another type are left out.
    """
    section = read_section(meta, "train_dataloader") or {}
    options: dict[str, Any] = {}
    for part in mappings(section.get("dataset")):  # a dataset, or several inside of a wrapper
        for name, (kind, default) in _OPTIONS.items():
            if name in part and part[name] != default and fits(part[name], kind):
                options.setdefault(name, part[name])
    return options


def reading_of(checkpoint: str | Path, exif: bool | None = None) -> dict[str, Any]:
    """Return what `reading_in` gives for the file of a checkpoint.

    Args:
        checkpoint: the file.
        exif: True or False turns photographs by EXIF or not, whatever the training did.

    Raises:
        UsageError: the file cannot be read.
    """
    options = reading_in(read_checkpoint(checkpoint, "meta").get("meta"))
    return options if exif is None else {**options, "exif": exif}


def read_as_trained(cfg: Config, checkpoint: str | Path | None) -> None:
    """Let the datasets of a config read images as the training of a checkpoint did, and log it.

    An option that the config itself gives to a dataset is kept, and a difference is logged.

    Args:
        cfg: the config, changed in place.
        checkpoint: its file; None changes nothing.

    Raises:
        UsageError: the file cannot be read.
    """
    options = reading_of(checkpoint) if checkpoint else {}
    if not options:
        return
    for place, loader in loaders_of(cfg):
        for dataset in datasets_in(loader.get("dataset")):
            if isinstance(dataset, Mapping):
                _adopt(dataset, options, place)


def _adopt(dataset: Any, options: Mapping[str, Any], place: str) -> None:
    for name, value in options.items():
        if not takes(dataset, DATASETS, name):
            continue
        if name not in dataset:
            dataset[name] = value
            print_log(f"{place}: dataset.{name}={value!r}, as the checkpoint was trained.")
        elif dataset[name] != value:
            print_log(
                f"{place}: dataset.{name} is {dataset[name]!r}, but the checkpoint was trained with {value!r}: its "
                "model sees other images than it learned from.",
                level=logging.WARNING,
            )


def reading_for(cfg: Config, meta: Any) -> dict[str, Any]:
    """Return the options for single images: of the config's validation data, else of the training.

    Args:
        cfg: the config.
        meta: metadata of the checkpoint, with the training's options.
    """
    validation = (cfg.get("val_dataloader") or {}).get("dataset") or {}
    return {**reading_in(meta), **{name: validation[name] for name in _OPTIONS if name in validation}}


def read_for(
    model: nn.Module, path: str | Path, max_pixels: int = MAX_PIXELS, reading: Mapping[str, Any] | None = None
) -> Tensor:
    """Return the image in a file, (C, H, W), with the channels that a model takes.

    Args:
        model: see `picture_shape_of`.
        path: the file.
        max_pixels: largest number of pixels, see `maetool.data.codecs.images.decode_image`.
        reading: `exif`, `eight_bit` and `nodata` of `maetool.data.ImageFolderDataset`.

    Raises:
        UsageError: the file cannot be read, or its values have another unit than those that the model learned from.
    """
    options = dict(reading or {})
    nodata = checked_nodata(options.pop("nodata", None))
    try:
        gaps = nodata is not None and isnan(nodata)
        image = read_image(path, picture_shape_of(model)[0], max_pixels, ReadOptions(**options, gaps=gaps))
    except UnreadableImage as error:
        raise UsageError(f"The image cannot be read: {error}.") from error
    image = image if nodata is None else fill_nodata(image, nodata)[0]
    for _, reason in of_another_unit(model, image[None]):
        raise UsageError(f"The image cannot be read: {path} {reason}: convert it to their unit.")
    return image


def of_another_unit(model: nn.Module, images: Tensor) -> list[tuple[int, str]]:
    """Return which images have values of another unit than the training's, and why: "has a mean of 30000 ...".

    Such are 16 bits where those had 8, 8 where those had 16, or 8 where those were shares from 0 to 1.

    Args:
        model: one whose `data_preprocessor` has the mean and deviation of each channel; of others nothing is known.
        images: (B, C, *size), as stored.
    """
    mean, std = (getattr(getattr(model, "data_preprocessor", None), name, None) for name in ("mean", "std"))
    if not (isinstance(mean, Tensor) and isinstance(std, Tensor) and mean.numel() == images.shape[1]):
        return []
    mean, std = mean.flatten().cpu(), std.flatten().cpu()
    if not (mean.any() or std.ne(1).any()):  # 0 and 1 say nothing of the images
        return []
    own = images.flatten(2).float().mean(dim=2)  # (B, C)
    wrong = ((own - mean) / std).abs().amin(dim=1) > _FAR
    if images.dtype == torch.uint8:  # of which one unit is known, so that an odd image of it is none of another
        beyond = bool((mean > _BRIGHTEST).any() or (std > _BRIGHTEST / 2 + 1).any())  # what no images of 8 bits have
        shares = bool((mean.abs() <= 1).all() and (std <= 1).all())
        wrong = (wrong & shares) | beyond
    unit = "8 bits" if images.dtype == torch.uint8 else "the values as stored"
    theirs = f"the training's images have one of {float(mean.mean()):g} and a deviation of {float(std.mean()):g}"
    places = wrong.nonzero().flatten().tolist()
    return [(place, f"has a mean of {float(own[place].mean()):g} in {unit}, but {theirs}") for place in places]
