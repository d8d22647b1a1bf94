"""What an optimiser must be able to do here, and which state its options need."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import LBFGS, Optimizer, SparseAdam

from maetool.errors import UsageError


def check_optimizer(optimizer: Optimizer) -> None:
    """Check that an optimiser can make a step from the gradients of one backward pass.

    Args:
        optimizer: any.

    Raises:
        UsageError: it asks for the loss again, for second derivatives, sparse gradients or another device, or records
            its steps for differentiation.
    """
    name, groups = type(optimizer).__name__, optimizer.param_groups
    places = {parameter.device.type for group in groups for parameter in group["params"]}
    reasons = {
        "needs the loss several times a step": isinstance(optimizer, LBFGS),
        "needs second derivatives of the loss": getattr(optimizer, "is_second_order", False),
        "takes sparse gradients only": isinstance(optimizer, SparseAdam),
        "with differentiable=True records a graph of its steps": any(group.get("differentiable") for group in groups),
        "with capturable=True needs an accelerator": "cpu" in places and any(g.get("capturable") for g in groups),
    }
    for reason, holds in reasons.items():
        if holds:
            option = reason.split()[1].split("=")[0] if reason.startswith("with ") else None
            cure = "use another optimiser, such as AdamW" if option is None else f"leave {option} out"
            raise UsageError(f"The optimiser {name} {reason}, which this training does not have: {cure}.")


def check_state(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Check that the state of a checkpoint has what the options of an optimiser need, such as AdamW's `amsgrad`.

    Only PyTorch's optimisers are asked, by a step of one number.

    Args:
        optimizer: of the present config.
        saved: state dict of its optimiser of the same class.

    Raises:
        UsageError: some of the state is missing.
    """
    number, entry = next(((number, entry) for number, entry in saved["state"].items() if entry), (0, None))
    if entry is None or not type(optimizer).__module__.startswith("torch.optim"):
        return
    missing = _state_names(optimizer, number) - set(entry)
    if missing and not isinstance(optimizer, torch.optim.SGD):  # which begins a momentum at any time
        raise UsageError(
            f"The options of {type(optimizer).__name__} need {min(missing)} of each parameter, which the checkpoint's "
            "optimiser did not keep: resume with the options of the original run, or start a new run from its weights "
            "with --cfg-options load_from=PATH."
        )


def _state_names(optimizer: Optimizer, number: int) -> set[str]:
    """Return what an optimiser keeps of its parameter `number`, which may depend on how many axes that has."""
    placed = [(parameter, group) for group in optimizer.param_groups for parameter in group["params"]]
    like, options = placed[number]
    parameter = torch.zeros((2,) * like.ndim, requires_grad=True, device="cpu")
    parameter.grad = torch.zeros_like(parameter)
    probe: Any = type(optimizer)([{**options, "params": [parameter], "capturable": False, "fused": None}])
    probe.step()
    return set(probe.state[parameter])
