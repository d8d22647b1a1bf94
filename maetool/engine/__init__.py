"""Everything that trains: the runner, loops, hooks, optimisers, schedules and checkpoints."""

from . import (
    classification,
    detection,
    hooks,
    lars,
    layer_decay,
    log_processor,
    loops,
    optim,
    param_groups,
    schedules,
    segmentation,
)
from .runner import MaetoolRunner

__all__ = [
    "MaetoolRunner",
    "classification",
    "detection",
    "hooks",
    "lars",
    "layer_decay",
    "log_processor",
    "loops",
    "optim",
    "param_groups",
    "schedules",
    "segmentation",
]
