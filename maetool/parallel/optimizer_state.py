"""Optimiser state of sharded parameters, gathered for checkpoints and split again by `torch.distributed.checkpoint`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import is_main_process
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

# The number of a parameter in its optimiser, and by name the values that belong to it.
Entries = Mapping[int, Mapping[str, Any]]
# What torch's optimisers keep for each number of a parameter.
_AVERAGES = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")


def full_optimizer_state(state: Mapping[str, Any], parameters: Sequence[Tensor]) -> dict[str, Any]:
    """Return an optimiser's state dict with full tensors on the CPU of the first process, and no state on the others.

    All processes call it together; a device holds one full tensor at a time. Where no parameter is sharded, every
    process gets its own state back.

    Args:
        state: the state dict of one process.
        parameters: of the optimiser, in its order.
    """
    entries: Entries = state["state"]
    if not entries or not _are_sharded(parameters):
        return dict(state)
    holder = _Holder(entries, parameters)
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    full: Any = get_optimizer_state_dict(holder.model, holder, options=options)
    return {**state, "state": _by_number(full.get("state", {}))}


def shard_optimizer_state(state: Mapping[str, Any], parameters: Sequence[Tensor]) -> dict[str, Any]:
    """Return an optimiser's state dict of full tensors, those of a parameter's shape sharded as the parameter is.

    The values of the first process count; the others may have meta tensors. Where no parameter is sharded, the state
    comes back as it is.

    Args:
        state: the state dict of full tensors.
        parameters: of the optimiser, in its order.
    """
    entries: Entries = state["state"]
    places = {number: _places(entry, parameters[number]) for number, entry in entries.items()}
    sized = any(_has_size(value) for entry in places.values() for value in entry.values())
    if not sized or not _are_sharded(parameters):
        return dict(state)
    holder = _Holder(places, parameters)
    full: dict[str, Any] = {
        "state": {str(number): entry for number, entry in entries.items()},
        "param_groups": holder.named_groups,
    }
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_optimizer_state_dict(holder.model, holder, full if is_main_process() else {}, options=options)
    return {**state, "state": holder.loaded}


class _Holder(Optimizer):
    """Holds entries for torch's functions, which ask for an optimiser and its model; it makes no step.

    In the run's own optimiser they would fill an empty state by a step of zero gradients, which counts as one of
    Adam's and is reported to hooks, and leave out the state of parameters that are frozen now.
    """

    def __init__(self, entries: Entries, parameters: Sequence[Tensor]) -> None:
        held = {str(number): nn.Parameter(parameters[number].detach()) for number in entries}
        self.model = nn.ParameterDict(held)
        super().__init__(held.values(), {})
        for number, entry in entries.items():
            self.state[held[str(number)]] = dict(entry)
        self.loaded: Entries = {}

    @property
    def named_groups(self) -> list[dict[str, Any]]:
        """The only group of parameters, by their names in the model."""
        return [{"params": list(self.model)}]

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take entries as they are; the optimiser that they are for knows the types that it wants."""
        self.loaded = _by_number(state_dict["state"])


def _by_number(state: Mapping[str, Any]) -> Entries:
    return {int(name): entry for name, entry in state.items()}


def _are_sharded(parameters: Sequence[Tensor]) -> bool:
    return any(isinstance(parameter, DTensor) for parameter in parameters)


def _has_size(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _places(entry: Mapping[str, Any], parameter: Tensor) -> dict[str, Any]:
    """Return an entry with new tensors, beside the parameter, for what is still to come; values without size stay."""
    return {name: _place(value, parameter.detach()) if _has_size(value) else value for name, value in entry.items()}


def _place(value: Tensor, parameter: Tensor) -> Tensor:
    if value.shape == parameter.shape:
        return torch.empty_like(parameter, dtype=value.dtype)
    return torch.empty_like(value, device=parameter.device)


def check_optimizer_state(state: Mapping[str, Any], parameters: Sequence[Tensor]) -> None:
    """Check what an optimiser of torch keeps of its parameters, full tensors, against their shapes.

    Args:
        state: the state dict.
        parameters: of the optimiser, in its order.

    Raises:
        ValueError: averages of other shapes than their parameters have, or numbers of steps that are no numbers.
    """
    for number, entry in state["state"].items():
        _check_entry(entry, parameters[number].shape)


def _check_entry(entry: Mapping[str, Any], shape: torch.Size) -> None:
    for name, value in entry.items():
        held = value.shape if isinstance(value, Tensor) else None
        is_number = held.numel() == 1 if held is not None else isinstance(value, int | float)
        if (name == "step" and not is_number) or (name in _AVERAGES and value is not None and held != shape):
            raise ValueError(f"{name} of the optimiser is {str(value)[:40]!r} for a parameter of shape {tuple(shape)}")
