"""Config completion: fills in values that follow from others, so that a config states each fact once."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine import Config

from maetool import registry
from maetool.annotations import fits, hints_of
from maetool.compat import is_installed, usable_cores
from maetool.errors import UsageError
from maetool.messages import plural
from maetool.ops.geometry import format_size, to_size
from maetool.registry import find_part

from .facts import argument_of, datasets_in, loaders_of, optimizers_in, parts_inside, schedulers_in, takes, task_in

_LOG_BACKENDS: dict[str, dict[str, Any]] = {
    "tensorboard": {"type": "TensorboardVisBackend"},
    "wandb": {"type": "WandbVisBackend", "init_kwargs": {"project": "maetool"}},
    "mlflow": {
        "type": "MLflowVisBackend",
        "exp_name": "maetool",
        # MLflow 3 refuses folders of files; its own default is this database in the current folder.
        "tracking_uri": os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
    },
    "aim": {"type": "AimVisBackend"},
}


def complete_config(cfg: Config, world_size: int = 1) -> str:
    """Fill in the values that follow from others, and return a sentence on the learning rate.

    The image size, frames and channels come from the encoder, or from its only stem, whether there are masks from the
    model; workers and pinned memory from the machine; accumulation and learning rate from `effective_batch_size` and
    `base_lr`. A complete config stays as it is. Without an `encoder`, image size and channels are those that the
    dataset states.

    Args:
        cfg: the config, changed in place.
        world_size: number of training processes.

    Raises:
        UsageError: contradictions.
    """
    move_preprocessor(cfg)
    if not cfg.get("randomness"):
        cfg.randomness = {"seed": None}  # MMEngine would need the key
    if cfg.get("log_to") is not None or not cfg.get("visualizer"):
        cfg.setdefault("visualizer", _log_backends(cfg.get("log_to", "auto")))
    if "type" in (cfg.get("param_scheduler") or ()):
        cfg.param_scheduler = [cfg.param_scheduler]
    source = source_of_images(cfg.model.get("encoder")) if isinstance(cfg.get("model"), Mapping) else None
    if source is None:
        _complete_from_pipelines(cfg)
    else:
        _complete_datasets(cfg, *source)
    for _, loader in loaders_of(cfg):
        _complete_loader(loader, world_size)
    return _complete_rate(cfg, world_size)


def move_preprocessor(cfg: Config) -> None:
    """Move the top-level `data_preprocessor` of `cfg`, which MMEngine allows, into the model.

    Raises:
        UsageError: the model already has a different one.
    """
    beside = cfg.pop("data_preprocessor", None)
    if beside is None or not isinstance(cfg.get("model"), Mapping):
        return
    inside = cfg.model.get("data_preprocessor")
    if inside is not None and inside != beside:
        raise UsageError(
            "The config has data_preprocessor and model.data_preprocessor, and they differ: remove one of them."
        )
    cfg.model.data_preprocessor = beside


def source_of_images(encoder: Any) -> tuple[Any, registry.Registry] | None:
    """Return the part that says the size and channels of images, and where it is registered.

    It is the encoder, by its config, or its only stem; None where neither says them.
    """
    if not isinstance(encoder, Mapping):
        return None
    part, parts = encoder, registry.ENCODERS
    inside = parts_inside(find_part(encoder["type"], parts))
    stems = [encoder.get(name) for name, kind in inside.items() if kind is registry.STEMS]
    if len(stems) == 1 and isinstance(stems[0], Mapping) and len(stems[0]) == 1:
        part, parts = next(iter(stems[0].values())), registry.STEMS
    says_both = isinstance(part, Mapping) and all(takes(part, parts, name) for name in ("img_size", "in_chans"))
    return (part, parts) if says_both else None


def size_of_inputs(encoder: Any) -> tuple[int, ...] | None:
    """Return the sides of what an encoder reads, by its config, of 1 to 3 axes; None if nothing says them."""
    source = source_of_images(encoder)
    return None if source is None else _sizes_of(*source)


def channels_of_inputs(encoder: Any) -> int | None:
    """Return the channels of what an encoder reads, by its config, or None if nothing says them."""
    source = source_of_images(encoder)
    return None if source is None else argument_of(*source, "in_chans")


def _complete_datasets(cfg: Config, source: Any, parts: registry.Registry) -> None:
    sizes = _sizes_of(source, parts)
    in_chans = argument_of(source, parts, "in_chans")
    finds_objects = task_in(cfg.model) == "detection" and takes(cfg.model, registry.MODELS, "with_masks")
    for name, dataset in [(name, each) for name, loader in loaders_of(cfg) for each in datasets_in(loader.dataset)]:
        if len(sizes) > 1:
            _fill_size(name, dataset, sizes[-2:])
        if len(sizes) == 3:
            _fill(f"{name}.dataset", dataset, registry.DATASETS, "frames", sizes[0])
        if in_chans is not None and not _splits_channels(dataset):
            _fill(f"{name}.dataset", dataset, registry.DATASETS, "in_chans", in_chans)
        if finds_objects:
            masks = argument_of(cfg.model, registry.MODELS, "with_masks")
            _fill(f"{name}.dataset", dataset, registry.DATASETS, "with_masks", masks, "model")


def _complete_from_pipelines(cfg: Config) -> None:
    """Fill in the size of drawn pictures that no encoder says: that of the first transform that states one."""
    datasets: list[Any] = [each for _, loader in loaders_of(cfg) for each in datasets_in(loader.dataset)]
    for dataset in datasets:
        if takes(dataset, registry.DATASETS, "img_size"):
            sizes = [transform["size"] for transform in _sized_transforms(dataset) if "size" in transform]
            if sizes:
                dataset.setdefault("img_size", sizes[0])


def _sizes_of(source: Any, parts: registry.Registry) -> tuple[int, ...]:
    """Return the sizes of the images of an encoder or stem, (H, W), or of clips, (T, H, W), or of series, (length,)."""
    sizes = [argument_of(source, parts, name) for name in ("img_size", "patch_size")]
    ranks = [len(size) for size in sizes if isinstance(size, list | tuple)]
    return to_size(sizes[0], "encoder.img_size", ranks[0] if ranks else 2)


def _log_backends(names: str | Sequence[str]) -> dict[str, Any]:
    if names == "auto":
        names = ["tensorboard"] if is_installed("tensorboard") else []
    backends = [{"type": "LocalVisBackend"}]
    for name in [names] if isinstance(names, str) else names:
        if name not in _LOG_BACKENDS:
            raise UsageError(f'log_to is {name!r}, but must be "auto" or a list of {", ".join(_LOG_BACKENDS)}.')
        if not is_installed(name):
            raise UsageError(f"log_to has {name}, which is not installed: pip install {name}.")
        backends.append(dict(_LOG_BACKENDS[name]))
    return {"type": "Visualizer", "vis_backends": backends}


def _fill_size(name: str, dataset: Any, img_size: tuple[int, ...]) -> None:
    sized = _sized_transforms(dataset)
    for transform in sized[:-1]:
        transform.setdefault("size", img_size)
    if sized:  # the last one decides the size of the images that the encoder gets
        _fill(f"{name}.{sized[-1]['type']}", sized[-1], registry.TRANSFORMS, "size", img_size)
        if takes(dataset, registry.DATASETS, "img_size"):
            dataset.setdefault("img_size", img_size)
    else:
        _fill(f"{name}.dataset", dataset, registry.DATASETS, "img_size", img_size)


def _sized_transforms(dataset: Any) -> list[Any]:
    """Return the configs of those transforms of a dataset that take a size."""
    pipeline = dataset.get("pipeline") if _has_transforms(dataset) else ()
    return [t for t in pipeline or () if isinstance(t, Mapping) and takes(t, registry.TRANSFORMS, "size")]


def _splits_channels(dataset: Any) -> bool:
    """Return whether a transform of a dataset gives the encoder some of the channels at a time."""
    pipeline = dataset.get("pipeline") if _has_transforms(dataset) else ()
    parts = [find_part(each.get("type"), registry.TRANSFORMS) for each in pipeline or () if isinstance(each, Mapping)]
    return any(getattr(part, "splits_channels", False) for part in parts)


def _has_transforms(dataset: Any) -> bool:
    """Return whether `pipeline` of a dataset is a list of maetool's transforms."""
    known = getattr(find_part(dataset["type"], registry.DATASETS), "part_registries", {})
    return known.get("pipeline") is registry.TRANSFORMS and isinstance(dataset.get("pipeline"), list | tuple)


def _fill(name: str, part: Any, parts: registry.Registry, argument: str, fact: Any, owner: str = "encoder") -> None:
    hint = hints_of(find_part(part["type"], parts)).get(argument, Any)
    if not takes(part, parts, argument) or not fits(fact, hint):  # or the class means something else by the name
        return
    value = part.setdefault(argument, fact)
    if isinstance(fact, tuple):
        value = to_size(value, f"{name}.{argument}")
    if value == fact:
        return
    value, shown = (format_size(v) if isinstance(v, tuple) else v for v in (value, fact))
    raise UsageError(
        f"{name} has {argument}={value}, but the {owner} has {shown}: remove the former, or make the two equal."
    )


def _complete_loader(loader: Any, world_size: int) -> None:
    if loader.get("num_workers", "auto") == "auto":
        loader.num_workers = max(1, usable_cores() // world_size)
    if loader.num_workers == 0:
        loader.pop("persistent_workers", None)
        loader.pop("prefetch_factor", None)
    loader.setdefault("pin_memory", torch.cuda.is_available())


def _complete_rate(cfg: Config, world_size: int) -> str:
    entries, loader = optimizers_in(cfg.get("optim_wrapper")), cfg.get("train_dataloader")
    if not all("optimizer" in one for one in entries.values()) or not entries or not isinstance(loader, Mapping):
        return ""  # no training, or its objects are already built
    optimizers = {place: one["optimizer"] for place, one in entries.items()}
    at_once = world_size * (loader.get("batch_size") or 1)
    accumulation = _complete_accumulation(cfg, at_once, world_size)
    base = cfg.get("base_lr")
    if base is None:
        return f"Learning rate {_shown_rates(optimizers)}, as the config sets it."
    if (cfg.get("auto_scale_lr") or {}).get("enable"):
        raise UsageError(
            "The config has base_lr, which scales the learning rate by the effective batch size, and auto_scale_lr, "
            "which would scale it a second time: remove auto_scale_lr, or write optim_wrapper.optimizer.lr instead "
            "of base_lr."
        )
    rate = base * at_once * accumulation / 256
    _complete_rates(optimizers, base, rate)
    own = {place: one for place, one in optimizers.items() if one.lr != rate}
    return (
        f"Learning rate {rate:.3g} = {base:.3g} per 256 images x {at_once * accumulation} / 256; "
        f"effective batch {at_once * accumulation} = {plural(world_size, 'process')} x "
        f"{plural(at_once // world_size, 'image')} x {accumulation} accumulated."
        + (f" {_shown_rates(own)} as the config sets it." if own else "")
    )


def _complete_rates(optimizers: Mapping[str, Any], base: float, rate: float) -> None:
    """Give the rate to the optimisers without one.

    Raises:
        UsageError: all have rates of their own.
    """
    for one in optimizers.values():
        one.setdefault("lr", rate)
    # They are equal in the config that a run saves in its work folder.
    if all(one.lr != rate for one in optimizers.values()):
        raise UsageError(
            f"The config has base_lr={base} and optimizer.lr={_shown_rates(optimizers)}: set only one of them; "
            "base_lr is the rate per 256 images and is scaled by the effective batch size."
        )


def _shown_rates(optimizers: Mapping[str, Any]) -> str:
    rates = {place.removeprefix("optim_wrapper."): one.get("lr") for place, one in optimizers.items()}
    return ", ".join(str(rate) if name == "optim_wrapper" else f"{rate} of {name}" for name, rate in rates.items())


def _complete_accumulation(cfg: Config, at_once: int, world_size: int) -> int:
    """Set the number of accumulated iterations from the effective batch size, if there is one, and return it."""
    effective = cfg.get("effective_batch_size")
    if effective:
        if effective % at_once:
            raise UsageError(
                f"effective_batch_size is {effective}, but {plural(world_size, 'process')} with "
                f"train_dataloader.batch_size={at_once // world_size} process {at_once} images at a time: make "
                "effective_batch_size a multiple of that."
            )
        cfg.optim_wrapper.accumulative_counts = effective // at_once
    accumulation = cfg.optim_wrapper.get("accumulative_counts", 1)
    for scheduler in schedulers_in(cfg):
        if takes(scheduler, registry.PARAM_SCHEDULERS, "accumulation"):
            scheduler.accumulation = accumulation
    return accumulation
