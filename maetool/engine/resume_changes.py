"""Compares the config of a resumed run with its checkpoint's: each changed value is logged or refused."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from torch import Tensor

from maetool.config.earlier_loops import as_val_loop
from maetool.errors import UsageError
from maetool.metadata.stored_config import read_config

_NAMES = 4096  # file names in the fingerprint of a data set, evenly spaced
_SHOWN = 80  # characters of a value
_LOADER = "train_dataloader."

# Values that affect only speed, paths and reports, not results: their changes are not logged.
_SILENT = (
    *("work_dir", "resume", "load_from", "launcher", "experiment_name", "custom_imports", "default_scope", "env_cfg"),
    *("log_to", "log_level", "log_processor", "visualizer", "vis_backends", "runner_type"),
    *(f"default_hooks.{name}" for name in ("logger", "checkpoint", "timer", "teacher", "sampler_seed")),
    *(f"custom_hooks.{name}.interval" for name in ("ReconstructionHook", "OverlayHook", "ObjectsHook")),
    *(
        "test_dataloader",
        "test_cfg",
        "test_evaluator",
    ),  # unlike validation, which may end training or lower its learning rate
    *("compile", "gradient_checkpointing", "activation_checkpointing", "fsdp", "find_unused_parameters"),
    "train_cfg.max_hours",
    *(f"*.{name}" for name in ("num_workers", "persistent_workers", "pin_memory", "prefetch_factor")),
    *(f"*.{name}" for name in ("collate_fn", "timeout", "multiprocessing_context", "worker_init_fn")),
    "randomness.seed",  # taken from the checkpoint, or compared with it
    "param_scheduler.*.accumulation",  # follows from the batch sizes
)
_ROOT = f"{_LOADER}dataset.root"  # not logged either if the names of the images were compared
# Initial weights of a model or a run; a resumed run has the weights of its checkpoint instead.
_ONLY_AT_START = ("init_from", "init_share", "init_adapt", "checkpoint", "codebook")
_OWN_STATE = ("optim_wrapper.optimizer.type", "optim_wrapper.*.optimizer.type", "optim_wrapper.*.parts")
_ONLY_AT_START += ("init_cfg", "head_std", "layer_scale")


@dataclass(frozen=True)
class Change:
    """A value of a config that differs from the one that a checkpoint was trained with.

    Attributes:
        name: the key, for example "optim_wrapper.optimizer.weight_decay".
        old, new: the two values; None where it was not set.
    """

    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.name} {_show(self.old)} -> {_show(self.new)}"

    def is_at(self, *sections: str) -> bool:
        """Return whether the value is at, or inside, one of the keys `sections`; "*" stands for any name."""
        parts = self.name.split(".")
        return any(_begins(parts, section.split(".")) for section in sections)

    @property
    def only_at_start(self) -> bool:
        """Whether the value only affects the initial weights."""
        return self.name.rsplit(".", 1)[-1] in _ONLY_AT_START and self.is_at("model", *_ONLY_AT_START)


def changes_since(meta: Mapping[str, Any], facts: Mapping[str, str]) -> list[Change]:
    """Return the differences between the config of a checkpoint and the present one that affect results.

    Args:
        meta: the checkpoint's metadata; without a config in it nothing is compared.
        facts: the completed config as `stored_facts` gives it.
    """
    old = read_config(meta)
    if not old:
        return []
    # Both are read from the same format, so that what the format loses is not a difference.
    new = read_config(facts if "config" in meta else {"cfg": facts["cfg"]})
    silent = list(_SILENT)
    if meta.get("data_names"):
        silent.append(_ROOT)
    if new.get("effective_batch_size"):
        silent.append("optim_wrapper.accumulative_counts")
    changes = _compare("", _in_present_form(old), _in_present_form(new))
    return [change for change in changes if not change.is_at(*silent)]


def _begins(parts: Sequence[str], section: Sequence[str]) -> bool:
    return len(parts) >= len(section) and all(one in (other, "*") for one, other in zip(section, parts, strict=False))


def _in_present_form(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with a validation loop of 0.1 converted, and with its custom hooks by their types.

    By type, an inserted hook changes one entry only.
    """
    hooks, loop = cfg.get("custom_hooks") or (), cfg.get("val_cfg")
    return {
        **cfg,
        "custom_hooks": {hook["type"]: hook for hook in hooks if isinstance(hook, Mapping) and "type" in hook},
        "val_cfg": as_val_loop(loop) if isinstance(loop, Mapping) else loop,
    }


def _compare(name: str, old: Any, new: Any) -> list[Change]:
    if isinstance(old or new, Mapping) and "type" not in (old or new):  # a missing section equals one without keys
        old, new = old or {}, new or {}
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [key for key in dict.fromkeys((*old, *new)) if not str(key).startswith("_")]
        pairs: Sequence[tuple[Any, Any, Any]] = [(key, old.get(key), new.get(key)) for key in keys]
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        if len(old) != len(new) or not any(isinstance(item, Mapping) for item in (*old, *new)):
            return [] if list(old) == list(new) else [Change(name, old, new)]
        pairs = list(zip(range(len(old)), old, new, strict=True))
    else:
        return [] if old == new else [Change(name, old, new)]
    return [change for key, one, other in pairs for change in _compare(f"{name}.{key}".lstrip("."), one, other)]


def _show(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping) and "type" in value:
        return str(value["type"])
    if isinstance(value, list | tuple):
        return f"[{', '.join(_show(item) for item in value)}]"
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def refuse_changes(changes: Sequence[Change], source: str, inside_epoch: bool) -> None:
    """Refuse changes under which the optimiser state or the position in the data would be invalid.

    Args:
        changes: see `changes_since`.
        source: the checkpoint.
        inside_epoch: whether it was written in the middle of an epoch.

    Raises:
        UsageError: another optimiser, or another order of the images in the middle of an epoch.
    """
    for change in changes:
        if change.is_at(*_OWN_STATE) and None not in (change.old, change.new):
            reason = "the state of one optimiser cannot be used by another"
        elif change.is_at(f"{_LOADER}sampler") and inside_epoch:
            reason = "the order of the images cannot change in the middle of an epoch"
        else:
            continue
        raise UsageError(
            f"{source} was trained with {change.name}={_show(change.old)}, but it is {_show(change.new)} now, and "
            f"{reason}: resume with the old value, or start a new run from its weights with --cfg-options "
            "load_from=PATH."
        )


def describe_changes(changes: Sequence[Change]) -> Iterator[str]:
    """Yield a line for each of the accepted `changes` that says how it takes effect."""
    for change in changes:
        if change.only_at_start:
            yield f"{change} is not used: the weights come from the checkpoint"
        elif change.is_at("train_cfg.max_epochs", "train_cfg.max_iters"):
            yield f"{change} from here on, and so is the length of the learning rate's schedule"
        else:
            yield f"{change} from here on"


def data_fingerprint(dataset: Any) -> str:
    """Return the first name of a dataset's images and a digest of all; empty if they have no names.

    A name consists of the file and its folder, so the data may be moved.
    """
    if not hasattr(dataset, "name_of"):
        return ""
    step = -(-len(dataset) // _NAMES)
    names = ["/".join(PurePath(dataset.name_of(index)).parts[-2:]) for index in range(0, len(dataset), step)]
    digest = hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()[:16]
    return f"{names[0].encode(errors='replace').decode()} ... ({digest})"


def label_fingerprint(dataset: Any) -> str:
    """Return a digest of the labels of a dataset, which may change while images and classes stay; empty without."""
    labels = getattr(dataset, "labels", None)
    if not isinstance(labels, Tensor) or not labels.numel():
        return ""
    return hashlib.sha256(labels.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
