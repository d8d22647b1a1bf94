"""Learning rates that fall from the head to the patch embedding."""

import re
from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .param_groups import build_wrapper

_FIRST = re.compile(r"cls_token|pos_embed|mask_token|patch_embed\..+")
_BLOCK = re.compile(r"blocks\.(\d+)\..+")
_LAST = re.compile(r"norm\..+")
_OWNERS = ("", "backbone.")  # a model of ours, or one of another toolbox
_NOT_DECAYED = ("pos_embed", "cls_token")


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor:
    """Parameter groups whose rate is the optimiser's times `layer_decay ** (depth + 1 - layer)`.

    Layer 0 of the encoder holds its tokens, positions and patch embedding, layer i + 1 block i, and layer depth + 1 its
    final norm and all that is outside of the encoder. One-dimensional parameters, positions and the class token have no
    weight decay. The table of the groups is logged once. Source: `util/lr_decay.py` of facebookresearch/mae.

    Args:
        optim_wrapper_cfg: config of the wrapper, with the optimiser's under `optimizer`.
        paramwise_cfg: dict(layer_decay=0.65).

    Raises:
        UsageError: another `paramwise_cfg`, or a decay that is not above 0 and at most 1.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        stated = dict(paramwise_cfg or {})
        self.layer_decay = stated.pop("layer_decay", None)
        if stated or not isinstance(self.layer_decay, int | float) or not 0 < self.layer_decay <= 1:
            raise UsageError(
                f"LayerDecayConstructor got paramwise_cfg={paramwise_cfg}, but takes dict(layer_decay=N) with N above "
                "0 and at most 1."
            )
        self.wrapper_cfg = dict(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the wrapper around an optimiser of the parameters of `model` that require a gradient.

        Raises:
            UsageError: a parameter of the encoder that has no place in the table.
        """
        groups = layer_decay_groups(getattr(model, "module", model), self.layer_decay)
        rate = self.wrapper_cfg["optimizer"]["lr"]
        for group in groups:
            group["lr"] = rate * group["lr_scale"]
        print_log(_table(groups, self.wrapper_cfg["optimizer"].get("weight_decay", 0.0)), logger="current")
        return build_wrapper(self.wrapper_cfg, groups)


def layer_decay_groups(model: nn.Module, layer_decay: float) -> list[dict[str, Any]]:
    """Return the groups, each with `params`, `layer`, `lr_scale`, and `weight_decay` where it is 0; first layer first.

    Args:
        model: with an `encoder` that has `blocks`, or with a `backbone` that has one.
        layer_decay: ratio of the rates of neighbouring layers.

    Raises:
        UsageError: the encoder has no `blocks`, or a parameter that has no place.
    """
    depth = _depth(model)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            layer, decayed = layer_of(name, depth), _is_decayed(name, parameter)
            scale = layer_decay ** (depth + 1 - layer)
            extra = {} if decayed else {"weight_decay": 0.0}
            group = groups.setdefault((layer, decayed), {"params": [], "layer": layer, "lr_scale": scale, **extra})
            group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def layer_of(name: str, depth: int) -> int:
    """Return the layer, 0 to depth + 1, of a parameter.

    Raises:
        UsageError: a parameter of the encoder that has no place.
    """
    prefix, _, inner = name.partition("encoder.")
    if prefix not in _OWNERS or _LAST.fullmatch(inner):
        return depth + 1
    if _FIRST.fullmatch(inner):
        return 0
    if found := _BLOCK.fullmatch(inner):
        return int(found[1]) + 1
    raise UsageError(
        f"LayerDecayConstructor cannot place the parameter {name}: it knows cls_token, pos_embed, mask_token, "
        "patch_embed, blocks.N and norm of an encoder; use constructor=DecayGroupsConstructor, one rate for all."
    )


def _depth(model: nn.Module) -> int:
    encoder = getattr(model, "encoder", None) or getattr(getattr(model, "backbone", None), "encoder", None)
    blocks = getattr(encoder, "blocks", None)
    if blocks is None:
        raise UsageError(
            f"LayerDecayConstructor needs an encoder with blocks, but {type(model).__name__} has none: use "
            "constructor=DecayGroupsConstructor, one rate for all."
        )
    return len(blocks)


def _is_decayed(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1 and not name.endswith(_NOT_DECAYED)


def _table(groups: list[dict[str, Any]], weight_decay: float) -> str:
    head = "Learning rates by layer:\n  layer     scale   peak rate  weight decay  tensors  parameters"
    return "\n".join([head, *_rows(groups, weight_decay)])


def _rows(groups: list[dict[str, Any]], weight_decay: float) -> Iterator[str]:
    for group in groups:
        size = sum(parameter.numel() for parameter in group["params"])
        yield (
            f"  {group['layer']:<5} {group['lr_scale']:>9.3g} {group['lr']:>11.3g} "
            f"{group.get('weight_decay', weight_decay):>13g} {len(group['params']):>8} {size:>11,}"
        )
