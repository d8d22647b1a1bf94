"""Which parameters are decayed."""

from typing import Any

from mmengine.optim import OptimWrapper
from torch import nn

from maetool.errors import UsageError
from maetool.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DecayGroupsConstructor:
    """Two parameter groups: one-dimensional parameters and biases without weight decay, all others with it.

    As in MAE, the class token and the mask token are decayed. Two groups, where MMEngine's default makes one for each
    parameter, let the fused optimiser work on all at once.

    Args:
        optim_wrapper_cfg: config of the wrapper, with the optimiser's under `optimizer`.
        paramwise_cfg: not used by this constructor; MMEngine passes it.

    Raises:
        UsageError: `paramwise_cfg` was given.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        if paramwise_cfg:
            raise UsageError(
                f"DecayGroupsConstructor takes no paramwise_cfg, but got {paramwise_cfg}: leave it out, "
                'or use constructor="DefaultOptimWrapperConstructor".'
            )
        self.wrapper_cfg = dict(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the wrapper around an optimiser of the parameters of `model` that require a gradient."""
        return build_wrapper(self.wrapper_cfg, decay_groups(getattr(model, "module", model)))


def build_wrapper(wrapper_cfg: dict[str, Any], groups: list[dict[str, Any]]) -> OptimWrapper:
    """Build the optimiser of parameter groups, and its wrapper, which is `AutocastOptimWrapper` where none is named."""
    cfg = {"type": "AutocastOptimWrapper", **wrapper_cfg}
    optimizer = OPTIMIZERS.build({**cfg.pop("optimizer"), "params": groups})
    return OPTIM_WRAPPERS.build({**cfg, "optimizer": optimizer})


def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return the parameter groups of `DecayGroupsConstructor`; an empty group is left out."""
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (plain if parameter.ndim <= 1 or name.endswith(".bias") else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
