"""LARS, the optimiser of linear probing."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from maetool.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    """SGD with momentum and steps proportional to the norm of each weight (You et al., 2017).

    The gradient of a weight of more than one dimension, decay included, is multiplied by
    `trust_coefficient * |weight| / |gradient|`, or unchanged if either norm is 0; biases and norms get plain
    momentum, without decay. Source: `util/lars.py` of facebookresearch/mae, after MoCo v3.

    Args:
        params: parameters or groups.
        lr: learning rate.
        momentum: share of the velocity that a step keeps.
        weight_decay: for weights of more than one dimension.
        trust_coefficient: see above.
    """

    heeds_found_inf = True  # a step is left out where the tensor `found_inf`, if it is set, is 1

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
    ) -> None:
        defaults = {"momentum": momentum, "weight_decay": weight_decay, "trust_coefficient": trust_coefficient}
        super().__init__(params, {"lr": lr, **defaults})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Make a step; return the result of `closure`, which computes the gradients again."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found_inf = getattr(self, "found_inf", None)
        skipped = None if found_inf is None else found_inf > 0
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group, skipped)
        return loss

    def _move(self, parameter: Tensor, group: dict[str, Any], skipped: Tensor | None) -> None:
        gradient = parameter.grad
        if parameter.ndim > 1:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
            weight_norm, gradient_norm = parameter.norm(), gradient.norm()
            both = (weight_norm > 0) & (gradient_norm > 0)
            gradient = gradient * torch.where(both, group["trust_coefficient"] * weight_norm / gradient_norm, 1.0)
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        velocity = state["velocity"]
        changed = velocity, parameter
        before = () if skipped is None else [value.clone() for value in changed]
        velocity.mul_(group["momentum"]).add_(gradient)
        parameter.add_(velocity, alpha=-group["lr"])
        for value, old in zip(changed, before, strict=skipped is not None):
            value.copy_(torch.where(skipped, old, value))
