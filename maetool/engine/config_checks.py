"""What is checked of a config before anything is built: names, arguments, and values that no part looks at."""

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine import Config
from torch.utils.data import DataLoader

from maetool import registry
from maetool.errors import UsageError
from maetool.registry import check_arguments, check_part

# Where a config names a part: the key that holds it, its registry, and the keys beside the part's own arguments.
_SECTIONS = {
    "model": (registry.MODELS, ()),
    "data_preprocessor": (registry.MODELS, ()),
    "masker": (registry.MASKERS, ()),
    "encoder": (registry.ENCODERS, ()),
    "decoder": (registry.DECODERS, ()),
    "target": (registry.TARGETS, ()),
    "head": (registry.HEADS, ()),
    "pyramid": (registry.MODELS, ()),
    "decode_head": (registry.MODELS, ()),  # of a segmentor
    "auxiliary_head": (registry.MODELS, ()),
    "teacher": (registry.ENCODERS, ()),  # of a target
    "source": (registry.TARGETS, ()),  # of a target of tokens
    "dataset": (registry.DATASETS, ()),
    "pipeline": (registry.TRANSFORMS, ()),
    "sampler": (registry.DATA_SAMPLERS, ()),
    "train_cfg": (registry.LOOPS, ()),
    "val_cfg": (registry.LOOPS, ()),
    "optim_wrapper": (registry.OPTIM_WRAPPERS, ("constructor", "paramwise_cfg")),
    "param_scheduler": (registry.PARAM_SCHEDULERS, ("convert_to_iter_based", "by_epoch", "begin", "end")),
    "default_hook": (registry.HOOKS, ("priority",)),
    "custom_hooks": (registry.HOOKS, ("priority",)),
    "log_processor": (registry.LOG_PROCESSORS, ()),
}
_LOADER = (*inspect.signature(DataLoader).parameters, "num_batch_per_epoch")
_ARGUMENTS = {
    **dict.fromkeys(("train_dataloader", "val_dataloader", "bank_dataloader"), _LOADER),
    "randomness": ("seed", "diff_rank_seed", "deterministic"),
}
_WITH_VALUES = {"", *_ARGUMENTS}  # sections whose values are used as they stand


def _above_zero(value: Any) -> bool:
    return value is None or (type(value) is int and value > 0)


def _from_zero(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)


def _names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _bool_or_names(value: Any) -> bool:
    return type(value) is bool or _names(value)


# What such a value must be.
_VALUES = {
    "base_lr": ("a number from 0", lambda value: value is None or (type(value) in (int, float) and value >= 0)),
    **dict.fromkeys(("effective_batch_size", "batch_size"), ("a whole number above 0", _above_zero)),
    "num_workers": ('"auto" or a whole number from 0', lambda value: value == "auto" or _from_zero(value)),
    "seed": ("a whole number from 0", _from_zero),
    **dict.fromkeys(
        ("fsdp", "find_unused_parameters"),
        ("True or False", lambda value: type(value) is bool),
    ),
    "gradient_checkpointing": ("True, False or a list of names of modules", _bool_or_names),
    "activation_checkpointing": ("a list of names of modules", lambda value: value is None or _names(value)),
    "custom_hooks": ("a list of hooks", lambda value: isinstance(value, list | tuple)),
}


def check_config(node: Any, section: str = "") -> None:
    """Check a config at any depth: the name and arguments of every part, loaders, switches and numbers.

    Args:
        node: the config, or a part of it.
        section: the key that holds the node; none for the whole.

    Raises:
        UsageError: an unknown name or argument, or a value of another kind than its key wants.
    """
    if isinstance(node, Config | Mapping):
        if section == "default_hook" or (section in _SECTIONS and "type" in node):
            parts, extras = _SECTIONS[section]
            check_part({key: value for key, value in node.items() if key not in extras}, parts)
        if section in _ARGUMENTS:
            check_arguments(section, node, _ARGUMENTS[section])
        if section in _WITH_VALUES:
            _check_values(node, section)
        for key, value in node.items():
            check_config(value, "default_hook" if section == "default_hooks" else key)
    elif isinstance(node, list | tuple):
        for item in node:
            check_config(item, section)


def _check_values(node: Mapping, section: str) -> None:
    for key, (wanted, fits) in _VALUES.items():
        if key in node and not fits(node[key]):
            name = f"{section}.{key}" if section else key
            raise UsageError(f"{name} is {node[key]!r}, but must be {wanted}.")
