"""Optimisers, their parameter groups, schedules, and the wrapper that takes a step."""

from .by_part import AutocastOptimWrapperDict, OptimizersByPartConstructor
from .lars import LARS
from .layer_decay import LayerDecayConstructor, layer_decay_groups
from .param_groups import DecayGroupsConstructor, build_wrapper, decay_groups
from .precision import Precision, choose_dtype, name_of
from .schedules import WarmupCosineLR, WarmupSchedule, WarmupStepLR
from .wrapper import AutocastOptimWrapper, StepReport, precision_of, report_of

__all__ = [
    "LARS",
    "AutocastOptimWrapper",
    "AutocastOptimWrapperDict",
    "DecayGroupsConstructor",
    "LayerDecayConstructor",
    "OptimizersByPartConstructor",
    "Precision",
    "StepReport",
    "WarmupCosineLR",
    "WarmupSchedule",
    "WarmupStepLR",
    "build_wrapper",
    "choose_dtype",
    "decay_groups",
    "layer_decay_groups",
    "name_of",
    "precision_of",
    "report_of",
]
