"""The top-level keys of a config."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mmengine import Config
from mmengine.runner import Runner

from maetool.annotations import check_value, hints_of
from maetool.errors import UsageError

from .files import is_one_file, names_read

Adaptable = Literal["channels", "patch_size"]  # changes to a checkpoint's weights that need an explicit request
_OWN = {
    "base_lr": float | None,
    "effective_batch_size": int | None,
    "compile": bool | dict[str, Any] | None,
    "gradient_checkpointing": bool | Sequence[str],
    "fsdp": bool,
    "log_to": str | Sequence[str],
    "init_from": str | None,
    "init_share": float,
    "init_adapt": Adaptable | Sequence[Adaptable],
}
# What MMEngine's runner reads of a config beside its own arguments.
_FRAMEWORK = {
    "runner_type": str | None,
    "custom_imports": dict[str, Any] | None,
    "model_wrapper_cfg": dict[str, Any] | None,
    "find_unused_parameters": bool,
    "sync_bn": Literal["torch", "mmcv"] | None,
    "activation_checkpointing": Sequence[str] | None,
    "efficient_conv_bn_eval": str | Sequence[str] | None,
    "log_level": str | int,
    "launcher": Literal["none", "pytorch", "slurm", "mpi"],
    "default_scope": str | None,
    "default_hooks": dict[str, Any] | None,
    "env_cfg": dict[str, Any],
    "randomness": dict[str, Any],
}
# Every top-level key, and the type of its value.
KEYS = {name: hint for name, hint in hints_of(Runner).items() if name != "cfg"} | _FRAMEWORK | _OWN
KEYS["custom_hooks"] |= dict[str, Any]  # by name
# The types of a loader's values where torch's annotations cannot be resolved.
LOADER_KEYS = {
    **dict.fromkeys(("pin_memory", "persistent_workers", "in_order"), bool),
    **dict.fromkeys(("shuffle",), bool | None),
    "timeout": float,
    "prefetch_factor": int | None,
    "pin_memory_device": str,
    "multiprocessing_context": str | None,
    "batch_sampler": dict[str, Any] | None,
    "num_batch_per_epoch": int | None,
}


def check_keys(cfg: Config) -> None:
    """Check the top-level keys of `cfg` and the types of their values, and remove variables.

    A variable is a name that begins with an underscore or that the config's own files read, such as `img_size` in
    `dict(size=img_size)`; it is no longer needed once the files are read.

    Raises:
        UsageError: an unknown key, or a value of a wrong type; the message suggests near names.
    """
    unknown = [name for name in cfg if name not in KEYS and not name.startswith("_")]
    path = Path(getattr(cfg, "filename", None) or "")
    helpers = names_read(path) if unknown else set()
    if "encoder" in unknown and is_one_file(path) and _has_joined(cfg):
        helpers.add("encoder")  # a config written by MMEngine or loaded by a script, which has no bases
    for name in unknown:
        if name not in helpers:
            raise UsageError(
                f"Nothing reads the config's `{name}`{_meant(name)}: remove it, or call it `_{name}` if it is a "
                "variable of your own."
            )
        cfg.pop(name)
    for name, value in cfg.items():
        if name in KEYS:
            check_value(name, value, KEYS[name])


def _has_joined(cfg: Config) -> bool:
    """Return whether the model includes the encoder of a file in `_base_/encoders`."""
    model = cfg.get("model")
    encoder = model.get("encoder") if isinstance(model, Mapping) else None
    return isinstance(encoder, Mapping) and isinstance(cfg.encoder, Mapping) and {"type", *cfg.encoder} <= set(encoder)


def _meant(name: str) -> str:
    if name == "encoder":  # of _base_/encoders
        return " (did you mean `model = dict(encoder=_base_.encoder)`, or dict(_base_.encoder, depth=6) in it?)"
    near = difflib.get_close_matches(name, KEYS, n=3)
    return f" (did you mean {' or '.join(f'`{one}`' for one in near)}?)" if near else ""
