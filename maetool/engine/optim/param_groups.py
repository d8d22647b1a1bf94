"""Parameter groups with and without weight decay."""

from collections.abc import Set
from typing import Any

from mmengine.optim import OptimWrapper
from torch import nn

from maetool.errors import UsageError
from maetool.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DecayGroupsConstructor:
    """Two parameter groups, with and without weight decay.

    One-dimensional parameters, biases, and parameters in `no_weight_decay` of a part have none; see `undecayed`. As in
    MAE, class token and mask token are decayed. MMEngine's default has one group per parameter; with two, a fused
    optimiser updates all parameters at once.

    Args:
        optim_wrapper_cfg: config of the wrapper, with the optimiser's under `optimizer`.
        paramwise_cfg: not used by this constructor; MMEngine passes it.

    Raises:
        UsageError: `paramwise_cfg` is not empty.
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
    """Build the optimiser for parameter groups, and its wrapper.

    Args:
        wrapper_cfg: `optim_wrapper` of a config; its type is by default `AutocastOptimWrapper`.
        groups: of parameters, each with its options.
    """
    cfg = {"type": "AutocastOptimWrapper", **wrapper_cfg}
    optimizer = OPTIMIZERS.build({**cfg.pop("optimizer"), "params": groups})
    return OPTIM_WRAPPERS.build({**cfg, "optimizer": optimizer})


def decay_groups(model: nn.Module, named: Set[str] | None = None) -> list[dict[str, Any]]:
    """Return the parameter groups of `DecayGroupsConstructor`; an empty group is left out.

    Args:
        model: the model.
        named: names of parameters without weight decay, besides biases and one-dimensional ones; None uses the names
            that the parts declare.
    """
    decayed, plain, named = [], [], undecayed(model) if named is None else named
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            left_out = parameter.ndim <= 1 or name.endswith(".bias") or name in named
            (plain if left_out else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def undecayed(model: nn.Module) -> set[str]:
    """Return the names of the parameters that the parts of a model exclude from weight decay.

    A part declares them by a method `no_weight_decay()`, as in timm and BEiT, which returns names relative to itself.
    The outermost part with this method decides for the parts inside it.

    Raises:
        UsageError: the method of a part does not return a set of names.
    """
    method = getattr(model, "no_weight_decay", None)
    if method is None:
        return {f"{part}.{name}" for part, module in model.named_children() for name in undecayed(module)}
    names = method() if callable(method) else method
    if not isinstance(names, set | frozenset | list | tuple) or not all(isinstance(name, str) for name in names):
        raise UsageError(
            f"{type(model).__name__}.no_weight_decay gives {names!r}, but must be a method that returns a set of names "
            'of its parameters, such as {"pos_embed"}.'
        )
    return set(names)


def in_present_groups(saved: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """Return an optimiser's saved state for `decay_groups(model)`.

    Checkpoints written before parts named parameters without weight decay hold those parameters in the decayed group;
    their state is moved to its new place. Any other state is returned as it is.
    """
    before, now = (decay_groups(model, names) for names in (set(), None))
    sizes = [len(group["params"]) for group in saved.get("param_groups", ())]
    present = [len(group["params"]) for group in now]
    if sizes == present or sizes != [len(group["params"]) for group in before] or len(sizes) != len(present):
        return saved
    place = {id(p): i for i, p in enumerate(p for group in before for p in group["params"])}
    old = [place[id(p)] for group in now for p in group["params"]]  # the old position of each parameter
    numbers = iter(range(len(old)))
    moved = {
        **saved,
        "state": {new: saved["state"][i] for new, i in enumerate(old) if i in saved["state"]},
        "param_groups": [
            {**group, "params": [next(numbers) for _ in range(size)]}
            for group, size in zip(saved["param_groups"], present, strict=True)
        ],
    }
    return {**moved, "gradients": [saved["gradients"][i] for i in old]} if "gradients" in saved else moved
