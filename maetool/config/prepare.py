"""Prepares a config for building: names, checks, completion, in this order; idempotent."""

import os
from pathlib import Path
from uuid import uuid4

from mmengine import Config
from mmengine.device import get_device

from maetool.errors import UsageError

from .checks import check_config
from .compiling import check_compile
from .complete import complete_config
from .defaults import fill_defaults
from .earlier_loops import move_earlier_keys
from .hooks import list_hooks
from .load import default_work_dir, with_names
from .values import check_training

# The environment variable in which each launcher gives the number of processes.
_PROCESSES = {"pytorch": "WORLD_SIZE", "slurm": "SLURM_NTASKS", "mpi": "OMPI_COMM_WORLD_SIZE"}


def prepare_config(cfg: Config, processes: int | None = None) -> str:
    """Check and complete `cfg` in place, and return the sentence on its learning rate.

    A prepared config stays as it is.

    Args:
        cfg: the config.
        processes: that train; None, as many as its launcher starts.

    Raises:
        UsageError: any mistake in the config.
    """
    for name, value in with_names(cfg).items():
        cfg[name] = value
    fill_defaults(cfg)
    list_hooks(cfg)
    move_earlier_keys(cfg)
    check_config(cfg)
    rate = complete_config(cfg, processes or number_of_processes(cfg.get("launcher", "none")))
    if not cfg.get("val_dataloader"):
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    return rate


def prepare_run(cfg: Config) -> str:
    """Prepare `cfg` as `prepare_config`, and set its work folder and experiment name if it has none."""
    check_training(cfg)
    rate = prepare_config(cfg)
    check_compile(cfg, get_device(), number_of_processes(cfg.get("launcher", "none")))
    path = Path(cfg.filename or "config.py")
    cfg.setdefault("work_dir", default_work_dir(path))
    # MMEngine shares logger and histories between runners of one name, and its own names repeat within a second.
    cfg.setdefault("experiment_name", f"{Path(cfg.work_dir).name}_{uuid4().hex[:8]}")
    return rate


def number_of_processes(launcher: str) -> int:
    """Return the number of training processes, from the environment that the launcher sets.

    Raises:
        UsageError: torchrun started several, but the launcher is "none".
    """
    if launcher == "none" and "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1":
        raise UsageError(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, but the launcher is none, so each process "
            "would train alone and overwrite the others' files: add --launcher pytorch."
        )
    return int(os.environ.get(_PROCESSES.get(launcher, ""), "1"))
