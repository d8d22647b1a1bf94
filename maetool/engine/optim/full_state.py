"""The state of optimiser wrappers of any class with full tensors, whether or not the model is sharded."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor

from maetool.parallel.optimizer_state import check_optimizer_state, full_optimizer_state, shard_optimizer_state

_GRADIENTS = "gradients"  # in the state of `AutocastOptimWrapper`: those gathered for the coming step, or None


def full_state(wrapper: OptimWrapper | OptimWrapperDict) -> dict[str, Any]:
    """Return the state dict of a wrapper with full tensors; where they were sharded, on the first process alone.

    All processes call it together.
    """
    if isinstance(wrapper, OptimWrapperDict):
        return {name: full_state(one) for name, one in wrapper.items()}
    parameters = _parameters_of(wrapper)
    state = full_optimizer_state(wrapper.state_dict(), parameters)
    if _GRADIENTS in state:
        full = full_optimizer_state({"state": _as_entries(state[_GRADIENTS])}, parameters)
        state[_GRADIENTS] = _as_list(full, len(parameters))
    return state


def load_full_state(wrapper: OptimWrapper, state: Mapping[str, Any]) -> None:
    """Load what `full_state` returned into a wrapper; where it becomes sharded, the first process's values count.

    Raises:
        ValueError: the state does not fit the parameters.
    """
    parameters = _parameters_of(wrapper)
    if type(wrapper.optimizer).__module__.startswith(("torch.optim", "maetool.")):  # what others keep is their own
        check_optimizer_state(state, parameters)
    state = shard_optimizer_state(state, parameters)
    if gradients := state.get(_GRADIENTS):
        sharded = shard_optimizer_state({"state": _as_entries(gradients)}, parameters)
        state[_GRADIENTS] = _as_list(sharded, len(gradients))
    wrapper.load_state_dict(state)


def _parameters_of(wrapper: OptimWrapper) -> list[Tensor]:
    return [parameter for group in wrapper.optimizer.param_groups for parameter in group["params"]]


def _as_entries(gradients: Sequence[Tensor | None]) -> dict[int, dict[str, Tensor]]:
    return {number: {"grad": gradient} for number, gradient in enumerate(gradients) if gradient is not None}


def _as_list(state: Mapping[str, Any], length: int) -> list[Tensor | None]:
    return [state["state"].get(number, {}).get("grad") for number in range(length)]
