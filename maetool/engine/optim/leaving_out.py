"""Optimisers that leave a step out where a flag on the device says so, which nobody reads."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import SGD, Adam, AdamW, Optimizer


def can_skip(optimizer: Optimizer) -> bool:
    """Return whether an optimiser can be told by a tensor to leave a step out.

    Those of PyTorch can where they can be fused, and others that say so by a class attribute `heeds_found_inf`.

    Args:
        optimizer: of parameters on one device.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    sharded = {isinstance(p, DTensor) for p in parameters if p.requires_grad}
    plain = len(sharded) <= 1 and all(p.is_floating_point() for p in parameters)
    if heeds_found_inf(optimizer):
        return plain
    options = all(
        not group.get("differentiable") and group.get("fused") is not False and not group.get("dampening")
        for group in optimizer.param_groups
    )
    return type(optimizer) in (Adam, AdamW, SGD) and plain and options and len({p.device for p in parameters}) == 1


def heeds_found_inf(optimizer: Optimizer) -> bool:
    """Return whether an optimiser that is not PyTorch's leaves a step out by its attribute `found_inf`.

    Args:
        optimizer: any.
    """
    return bool(getattr(type(optimizer), "heeds_found_inf", False))


def fuse(optimizer: Optimizer) -> None:
    """Let an optimiser update all parameters by one kernel, which heeds `found_inf`; see `can_skip`.

    Args:
        optimizer: also of a run that began on a device without such kernels, whose step counts lie on the CPU; others
            than PyTorch's stay as they are.
    """
    if heeds_found_inf(optimizer):
        return
    for group in optimizer.param_groups:
        group["fused"] = True
        if group.get("foreach"):
            group["foreach"] = False
        for parameter in group["params"]:
            step = optimizer.state.get(parameter, {}).get("step")
            if step is not None:
                optimizer.state[parameter]["step"] = torch.as_tensor(step, dtype=torch.float32).to(parameter.device)
    vars(optimizer)["_step_supports_amp_scaling"] = True


def step_unless(found_inf: Tensor, optimizer: Optimizer) -> None:
    """Let an optimiser make its step, unless the flag is set.

    Args:
        found_inf: float32 (), on the device; 1 leaves weights and optimiser as they are.
        optimizer: for which `can_skip` holds, after `fuse`.
    """
    vars(optimizer).update(grad_scale=None, found_inf=found_inf)
    try:
        if isinstance(optimizer, SGD):
            _start_momentum(optimizer)
            with _on_shards(optimizer):
                optimizer.step()
        else:
            optimizer.step()
    finally:
        del vars(optimizer)["grad_scale"], vars(optimizer)["found_inf"]


def _start_momentum(optimizer: SGD) -> None:
    """Begin with a momentum of 0, of which a step makes the gradient, as it does where there is none yet.

    PyTorch's kernel fills the buffers that it makes in its first step, or not at all if that step is left out, and then
    goes on with whatever was in the memory.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            if parameter.grad is not None and optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


@contextmanager
def _on_shards(optimizer: SGD) -> Iterator[None]:
    """Let SGD, which treats every number by itself, see only the shards of this process: its kernel takes no DTensor.

    Weights and momentum share their memory with the shards, so that nothing is copied.
    """
    whole, state = [group["params"] for group in optimizer.param_groups], optimizer.state
    if not any(isinstance(parameter, DTensor) for group in whole for parameter in group):
        yield
        return
    shards = {parameter: _shard_of(parameter) for group in whole for parameter in group}
    held = {shards[p]: {name: _local(value) for name, value in state.get(p, {}).items()} for p in shards}
    try:
        for group, parameters in zip(optimizer.param_groups, whole, strict=True):
            group["params"] = [shards[parameter] for parameter in parameters]
        vars(optimizer)["state"] = held
        yield
    finally:
        optimizer.state = state
        for group, parameters in zip(optimizer.param_groups, whole, strict=True):
            group["params"] = parameters


def _shard_of(parameter: Tensor) -> Tensor:
    shard = _local(parameter.detach())
    shard.grad = None if parameter.grad is None else _local(parameter.grad)
    return shard


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value
