"""Gradients of a sharded model that stay with each process until an optimiser step is due."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method


def exchange_gradients(model: nn.Module, due: bool) -> bool:
    """Say whether the next backward pass of a sharded model reduces gradients over the processes; others do as ever.

    Until then each process holds full gradients of the whole model, in the dtype in which they are reduced.

    Args:
        model: as it is trained.
        due: whether an optimiser step follows.

    Returns:
        Whether gradients now stay unreduced.
    """
    if not isinstance(model, FSDPModule):
        return False
    model.set_requires_gradient_sync(due)
    return not due


def reduce_gradients(model: Any) -> None:
    """Reduce what a sharded model has accumulated since `exchange_gradients`; all processes call it together.

    torch reduces at the end of a backward pass, so that one of a number that depends on no weight does it.

    Args:
        model: sharded.
    """
    model.set_requires_gradient_sync(True)
    model._reduce = lambda: torch.ones((), requires_grad=True) * 1
    register_fsdp_forward_method(model, "_reduce")
    one: Tensor = model._reduce()
    one.backward()
    del model._reduce
