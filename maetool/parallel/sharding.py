"""Sharding of a model over processes (torch's `fully_shard`, FSDP2), invisible in checkpoints."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import broadcast, broadcast_object_list, get_world_size, is_main_process
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from maetool.errors import UsageError

from .block_precision import compute_in, policy_of
from .blocks import blocks_of

_METHODS = ("probabilities", "make_plan")  # of blocks and models, beside `forward`
_FOLLOWING = ("start", "after_step", "follow")  # of parts that compute with the weights of trained ones


def shard(model: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Split the parameters of `model`, each block and then the rest, over all processes, in place; rank 0's count.

    Every process holds its share of weights, gradients and optimiser state; a block's weights are gathered when it
    runs. Gradients are means over the processes, as with `DistributedDataParallel`. A frozen part, such as a teacher,
    stays whole: it has no gradients and no optimiser state, and would only be gathered in every step.

    Args:
        model: on its device.
        dtype: 16 bits, in which the weights of blocks are gathered and computed with; gradients are added up in
            float32. None gathers float32.
    """
    for value in model.state_dict().values():
        broadcast(value)
    device = next(model.parameters()).device.type
    mesh = init_device_mesh(device, (get_world_size(),))
    frozen = frozen_parts(model)
    whole = {id(module) for part in frozen for module in part.modules()}
    for block in blocks_of(model):
        if id(block) not in whole:
            if dtype is not None:
                compute_in(block, dtype, ("forward", *_METHODS))
            _with_methods(fully_shard(block, mesh=mesh, mp_policy=policy_of(dtype)))
    ignored = {parameter for part in frozen for parameter in part.parameters()}
    _with_methods(fully_shard(model, mesh=mesh, ignored_params=ignored))
    return model


def frozen_parts(model: nn.Module) -> list[nn.Module]:
    """Return the parts of a model in which nothing is ever trained, and that follow no trained part.

    Args:
        model: whose children are its parts, also those in lists and dicts of modules.
    """
    parts: list[nn.Module] = []
    for child in model.children():
        if isinstance(child, nn.ModuleDict | nn.ModuleList):
            parts += frozen_parts(child)
            continue
        follows = any(callable(getattr(module, name, None)) for module in child.modules() for name in _FOLLOWING)
        weights = list(child.parameters())
        if weights and not follows and not any(weight.requires_grad for weight in weights):
            parts.append(child)
    return parts


def _with_methods(part: Any) -> None:
    """Let the methods that compute with weights gather them, as `forward` does."""
    for name in _METHODS:
        if callable(getattr(part, name, None)):
            register_fsdp_forward_method(part, name)


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Keep the weights of a sharded model whole, so that processes may run it different numbers of times."""
    sharded = [part for part in model.modules() if isinstance(part, FSDPModule)]
    for part in sharded:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in sharded:
            part.reshard()
            part.set_reshard_after_forward(part is not model, recurse=False)  # torch's own default: all but the root


def full_weights(model: nn.Module, everywhere: bool = False) -> dict[str, Any]:
    """Return the state dict of a model, with full tensors also where it is sharded; all processes call it together.

    Args:
        model: any.
        everywhere: give a sharded model's tensors to every process, on its device; otherwise the first process has
            them, on the CPU, and the others an empty dict.
    """
    if not is_sharded(model):
        return model.state_dict()
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=not everywhere))


def load_weights_into(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load full tensors, which must fit, into a model; where it is sharded, those of the first process count.

    Tensors of the model that are not in `weights` stay as they are.
    """
    if not is_sharded(model):
        model.load_state_dict(weights, strict=False)
        return
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
    set_model_state_dict(model, dict(weights) if is_main_process() else {}, options=options)


def read_on_first(read: Callable[[], Any]) -> Any:
    """Return what the first process reads; the others get it with meta tensors, of the same shapes without values.

    Log histories (`message_hub`) and tensors of one number come with their values.

    Raises:
        UsageError: what `read` raised, in all processes.
    """
    result: list[Any] = [None, ""]
    if is_main_process():
        try:
            value = read()
            result = [_without_values(value), ""]
        except UsageError as error:
            result = [None, str(error)]
    broadcast_object_list(result)
    if result[1]:
        raise UsageError(result[1])
    return value if is_main_process() else result[0]


def _without_values(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to("meta") if value.ndim else value
    if isinstance(value, Mapping):
        return {key: item if key == "message_hub" else _without_values(item) for key, item in value.items()}
    return [_without_values(item) for item in value] if isinstance(value, list | tuple) else value


def is_sharded(model: nn.Module) -> bool:
    """Return whether any parameter of the model is split over processes."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())
