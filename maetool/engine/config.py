"""Configs: loaded, checked before anything is built, and completed with the facts that are stated once."""

import argparse
import inspect
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine import Config, DictAction

from maetool import registry
from maetool.compat import usable_cores
from maetool.errors import UsageError
from maetool.ops.geometry import by, to_size
from maetool.registry import find_part

from .config_names import near_names
from .config_paths import find_config

_STDLIB = sysconfig.get_path("stdlib")
_LOG_BACKENDS = {
    "tensorboard": {"type": "TensorboardVisBackend"},
    "wandb": {"type": "WandbVisBackend", "init_kwargs": {"project": "maetool"}},
}
# What an option may add although no file of the config states it; parts of the model stand deeper.
_OPTIONAL_KEYS = {
    *("base_lr", "effective_batch_size", "compile", "fsdp", "randomness", "env_cfg"),
    *("model", "train_dataloader", "val_dataloader", "train_cfg", "val_cfg", "val_evaluator", "optim_wrapper"),
    *("param_scheduler", "default_hooks", "custom_hooks", "log_processor", "log_to", "log_level", "visualizer"),
    *("work_dir", "load_from", "resume", "init_from", "init_share", "init_adapt", "experiment_name", "launcher"),
    *("custom_imports", "default_scope", "find_unused_parameters", "sync_bn"),
    *("gradient_checkpointing", "activation_checkpointing"),
}


def load_config(path: str | Path, options: Sequence[str] = ()) -> Config:
    """Load a config and change it by `options`, each `key.key=value`.

    Args:
        path: a file, or the name of a config that a package ships: `maetool::mae/vit-t_shapes.py`.
        options: changes.

    Raises:
        UsageError: no such file, a file that is not a config, or an option for a key that does not exist.
    """
    path = find_config(path)
    try:
        cfg = Config.fromfile(path)
    except UsageError:  # of a part that `custom_imports` registers
        raise
    except (Exception, SystemExit) as error:  # a config is code, so anything can go wrong in it
        raise UsageError(f"The config {path} cannot be read ({_reason(error)}).") from error
    change_config(cfg, options)
    # With the folder, which is the method's: many methods have a vit-b_800e.py.
    cfg.setdefault("work_dir", f"work_dirs/{'_'.join(filter(None, (path.parent.name, path.stem)))}")
    return cfg


def _reason(error: BaseException) -> str:
    while isinstance(error, ImportError) and error.__context__:  # MMEngine hides why `custom_imports` failed
        error = error.__context__
    last = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(last.filename)
    people_wrote_it = file.is_file() and not file.is_relative_to(_STDLIB) and "mmengine" not in file.parts
    where = f", in {file}, line {last.lineno}" if people_wrote_it else ""
    return f"{type(error).__name__}: {error}{where}"


def change_config(cfg: Config, options: Sequence[str]) -> None:
    """Change a config in place by options, each `key.key=value`.

    Raises:
        UsageError: an option without a value, for a key that does not exist, or of another kind than what is there.
    """
    changes = _parse_options(options, cfg)
    try:
        cfg.merge_from_dict(changes)
    except (TypeError, KeyError, IndexError) as error:
        raise UsageError(f"The options {' '.join(options)} do not fit the config: {str(error).rstrip('.')}.") from error


def _parse_options(options: Sequence[str], cfg: Config) -> dict[str, Any]:
    for option in options:
        key = option.split("=")[0]
        # Variables that a file computes with, such as _names, have been used when options are read.
        known = {*(name for name in cfg if not name.startswith("_")), *_OPTIONAL_KEYS}
        if "=" not in option:
            raise UsageError(f"The option `{option}` has no value: write --cfg-options {option}=VALUE.")
        if key.split(".")[0] not in known:
            raise UsageError(f"The config has no `{key}`; near names: {near_names(key, cfg, known)}.")
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="*", action=DictAction, default={})
    return parser.parse_args(["--cfg-options", *options]).cfg_options


def parse_runs(runs: Sequence[str]) -> dict[str, list[str]]:
    """Return name to options of runs written as "name key=value key=value".

    Raises:
        UsageError: an empty run, a name twice, or something that is not an option.
    """
    parsed: dict[str, list[str]] = {}
    for run in runs:
        name, *options = run.split() or [""]
        wrong = [option for option in options if "=" not in option]
        if not name or "=" in name or "/" in name or name in parsed or wrong:
            raise UsageError(f'The run "{run}" must be a name of its own and then key=value, such as "red color=red".')
        parsed[name] = options
    return parsed


def loaders_of(cfg: Config) -> Iterator[tuple[str, Any]]:
    """Yield name and config of every loader."""
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if cfg.get(name):
            yield name, cfg[name]
    if cfg.get("val_cfg") and cfg.val_cfg.get("bank_dataloader"):
        yield "val_cfg.bank_dataloader", cfg.val_cfg.bank_dataloader


def schedulers_in(cfg: Config) -> list[Any]:
    """Return the configs of the schedules: of one, of a list, or where there are several optimisers of each."""
    stated_as = cfg.get("param_scheduler") or []
    if isinstance(stated_as, Mapping):
        stated_as = [stated_as] if "type" in stated_as else list(stated_as.values())
    groups = [each if isinstance(each, list | tuple) else [each] for each in stated_as]
    return [scheduler for group in groups for scheduler in group if isinstance(scheduler, Mapping)]


def complete_config(cfg: Config, world_size: int = 1) -> str:
    """Fill in what follows from what is stated, and return the sentence on the learning rate.

    The image size and the channels come from the encoder, whether there are masks from the model; workers and pinned
    memory from the machine; accumulation and learning rate from `effective_batch_size` and `base_lr`.

    Raises:
        UsageError: contradictions.
    """
    cfg.setdefault("visualizer", _log_backends(cfg.get("log_to", "auto")))
    encoder = cfg.model.encoder
    img_size = to_size(stated(encoder, registry.ENCODERS, "img_size"), "encoder.img_size")
    in_chans = stated(encoder, registry.ENCODERS, "in_chans")
    for name, loader in loaders_of(cfg):
        _fill_size(name, loader.dataset, img_size)
        _fill(f"{name}.dataset", loader.dataset, registry.DATASETS, "in_chans", in_chans)
        if takes(cfg.model, registry.MODELS, "with_masks"):
            masks = stated(cfg.model, registry.MODELS, "with_masks")
            _fill(f"{name}.dataset", loader.dataset, registry.DATASETS, "with_masks", masks, "model")
        _complete_loader(loader, world_size)
    return _complete_rate(cfg, world_size)


def _log_backends(wanted: str | Sequence[str]) -> dict[str, Any]:
    if wanted == "auto":
        wanted = ["tensorboard"] if find_spec("tensorboard") else []
    backends = [{"type": "LocalVisBackend"}]
    for name in [wanted] if isinstance(wanted, str) else wanted:
        if name not in _LOG_BACKENDS:
            raise UsageError(f'log_to says {name!r}, but must be "auto" or a list of {", ".join(_LOG_BACKENDS)}.')
        if not find_spec(name):
            raise UsageError(f"log_to asks for {name}, which is not installed: pip install {name}.")
        backends.append(dict(_LOG_BACKENDS[name]))
    return {"type": "Visualizer", "vis_backends": backends}


def stated(part: Mapping, parts: registry.Registry, name: str) -> Any:
    """Return the argument `name` that a part's config states, or else its default."""
    return part.get(name, inspect.signature(find_part(part["type"], parts)).parameters[name].default)


def _fill_size(name: str, dataset: Any, img_size: tuple[int, ...]) -> None:
    sized = [t for t in dataset.get("pipeline", ()) if takes(t, registry.TRANSFORMS, "size")]
    for transform in sized[:-1]:
        transform.setdefault("size", img_size)
    if sized:  # the last one decides the size of the images that the encoder gets
        _fill(f"{name}.{sized[-1]['type']}", sized[-1], registry.TRANSFORMS, "size", img_size)
        if takes(dataset, registry.DATASETS, "img_size"):
            dataset.setdefault("img_size", img_size)
    else:
        _fill(f"{name}.dataset", dataset, registry.DATASETS, "img_size", img_size)


def takes(part: Mapping, parts: registry.Registry, argument: str) -> bool:
    """Return whether the class that a part's config names has this argument."""
    return argument in inspect.signature(find_part(part["type"], parts)).parameters


def _fill(name: str, part: Any, parts: registry.Registry, argument: str, fact: Any, owner: str = "encoder") -> None:
    if not takes(part, parts, argument):
        return
    found = part.setdefault(argument, fact)
    if isinstance(fact, tuple):
        found = to_size(found, f"{name}.{argument}")
    if found == fact:
        return
    found, shown = (by(v) if isinstance(v, tuple) else v for v in (found, fact))
    raise UsageError(
        f"{name} says {argument}={found}, but the {owner} says {shown}: leave it out there, or make the two equal."
    )


def _complete_loader(loader: Any, world_size: int) -> None:
    if loader.get("num_workers", "auto") == "auto":
        loader.num_workers = max(1, usable_cores() // world_size)
    if loader.num_workers == 0:
        loader.pop("persistent_workers", None)
        loader.pop("prefetch_factor", None)
    loader.setdefault("pin_memory", torch.cuda.is_available())


def _complete_rate(cfg: Config, world_size: int) -> str:
    wrapper, batch = cfg.optim_wrapper, cfg.train_dataloader.batch_size
    at_once, effective = world_size * batch, cfg.get("effective_batch_size")
    if effective:
        if effective % at_once:
            raise UsageError(
                f"effective_batch_size is {effective}, but {world_size} process(es) with train_dataloader.batch_size="
                f"{batch} see {at_once} images at a time: make effective_batch_size a multiple of that."
            )
        wrapper.accumulative_counts = effective // at_once
    accumulation = wrapper.get("accumulative_counts", 1)
    for scheduler in schedulers_in(cfg):
        if takes(scheduler, registry.PARAM_SCHEDULERS, "accumulation"):
            scheduler.accumulation = accumulation
    base = cfg.get("base_lr")
    if base is None:
        return f"Learning rate {wrapper.optimizer.get('lr')} as stated."
    rate = base * at_once * accumulation / 256
    if wrapper.optimizer.setdefault("lr", rate) != rate:  # equal in the config that a run leaves in its work folder
        raise UsageError(
            f"The config says base_lr={base} and optimizer.lr={wrapper.optimizer.lr}: state only one of them; "
            "base_lr is per 256 images and scaled by the effective batch."
        )
    return (
        f"Learning rate {wrapper.optimizer.lr:.3g} = {base:.3g} per 256 images x {at_once * accumulation} / 256; "
        f"effective batch {at_once * accumulation} = {world_size} process(es) x {batch} images x {accumulation} "
        "accumulated."
    )
