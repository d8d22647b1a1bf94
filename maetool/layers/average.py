"""Moving averages of modules."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from maetool.errors import UsageError

Schedule = Literal["cosine", "linear", "constant"]


def check_momentum(momentum: float, schedule: str = "cosine", final: float = 1.0, until: float = 1.0) -> None:
    """Check the arguments of `momentum_at`.

    Raises:
        UsageError: a momentum outside [0, 1], an unknown schedule, a `final` momentum below the first or above 1,
            `until` outside (0, 1], or either with a constant momentum.
    """
    if not 0 <= momentum <= 1:
        raise UsageError(f"momentum is {momentum!r}, but must be from 0 (a copy) to 1 (never moves).")
    if schedule not in ("cosine", "linear", "constant"):
        raise UsageError(f'schedule is {schedule!r}, but must be "cosine", "linear" or "constant".')
    if not momentum <= final <= 1 or not 0 < until <= 1:
        raise UsageError(
            f"The momentum ends at {final!r} when {until!r} of training is over, but must end from {momentum} to 1, "
            "and when a share above 0 and at most 1 is over."
        )
    if schedule == "constant" and (final, until) != (1.0, 1.0):
        raise UsageError('A "constant" momentum has no end: leave it out, or set schedule="linear" or "cosine".')


def momentum_at(
    progress: float, momentum: float, schedule: Schedule = "cosine", final: float = 1.0, until: float = 1.0
) -> float:
    """Return the share of an average that stays in a step, `progress` of training in [0, 1] being over.

    It rises from `momentum` to `final` by half a cosine (BYOL), linearly (I-JEPA), or stays constant.

    Args:
        progress: the fraction of training that is over, in [0, 1].
        momentum: the share at the start, in [0, 1].
        schedule: "cosine", "linear" or "constant".
        final: the share that it rises to, in [momentum, 1].
        until: the fraction of training, in (0, 1], after which it stays at `final`.
    """
    progress = min(progress / until, 1.0)
    rest = {"cosine": (1 + math.cos(math.pi * progress)) / 2, "linear": 1 - progress, "constant": 1.0}[schedule]
    return final - (final - momentum) * rest


@torch.no_grad()
def copy_weights(average: nn.Module, trained: nn.Module) -> None:
    """Copy the parameters and buffers of `trained` into `average`, a copy of it."""
    for own, value in zip(_tensors(average), _tensors(trained), strict=True):
        own.copy_(value)


@torch.no_grad()
def move_average(average: nn.Module, trained: nn.Module, stays: float) -> None:
    """Move the parameters of `average` towards those of `trained`, of which 1 - `stays` enters; buffers are copied."""
    torch._foreach_lerp_([*average.parameters()], [*trained.parameters()], 1 - stays)
    copy_tensors([*trained.buffers()], [*average.buffers()])


def copy_tensors(values: list[Tensor], places: list[Tensor]) -> None:
    """Copy tensors into others, of the same device and shapes: on an accelerator by a few kernels for all.

    Args:
        values: what is copied.
        places: as many.
    """
    if values or places:  # torch takes no empty lists
        torch._foreach_copy_(places, values)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
