"""Layer-wise decay of the learning rate, from the head down to the patch embedding."""

from collections.abc import Iterator
from typing import Any

from mmengine.optim import OptimWrapper
from torch import nn

from maetool.errors import UsageError
from maetool.messages import print_log
from maetool.registry import OPTIM_WRAPPER_CONSTRUCTORS

from .param_groups import build_wrapper, undecayed

_WHERE = ("encoder", "backbone.encoder")  # in a model of maetool, or of another toolbox


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor:
    """Parameter groups with the optimiser's learning rate times `layer_decay ** (depth + 1 - layer)`.

    The encoder's method `layer_of(name)` gives the layer of each of its parameters. In a plain ViT, layer 0 holds
    tokens, positions and patch embedding, layer i + 1 block i, and layer depth + 1 the final norm and all parameters
    outside of the encoder. One-dimensional parameters, the class token and parameters in a part's `no_weight_decay`
    have no weight decay. The table of the groups is logged once. Source: `util/lr_decay.py` of facebookresearch/mae.

    Args:
        optim_wrapper_cfg: config of the wrapper, with the optimiser's under `optimizer`.
        paramwise_cfg: dict(layer_decay=0.65).

    Raises:
        UsageError: an invalid `paramwise_cfg`, or a decay that is not above 0 and at most 1.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        arguments = dict(paramwise_cfg or {})
        self.layer_decay = arguments.pop("layer_decay", None)
        if arguments or not isinstance(self.layer_decay, int | float) or not 0 < self.layer_decay <= 1:
            raise UsageError(
                f"LayerDecayConstructor got paramwise_cfg={paramwise_cfg}, but takes dict(layer_decay=N) with N above "
                "0 and at most 1."
            )
        self.wrapper_cfg = dict(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the wrapper around an optimiser of the parameters of `model` that require a gradient.

        Raises:
            UsageError: the encoder does not assign layers to its parameters.
        """
        groups = layer_decay_groups(getattr(model, "module", model), self.layer_decay)
        wrapper = build_wrapper(self.wrapper_cfg, groups)
        for group in wrapper.optimizer.param_groups:
            group["lr"] *= group["lr_scale"]
        print_log(_table(wrapper.optimizer.param_groups))  # with what the config leaves to the optimiser
        return wrapper


def layer_decay_groups(model: nn.Module, layer_decay: float) -> list[dict[str, Any]]:
    """Return the groups, each with `params`, `layer`, `lr_scale`, and `weight_decay` where it is 0; first layer first.

    Args:
        model: a model with an `encoder` that has `layer_of`, or with a `backbone` that has such an encoder.
        layer_decay: ratio of the learning rates of neighbouring layers.

    Raises:
        UsageError: no encoder has `layer_of`, or one of its parameters has no layer.
    """
    (layers, head), without = _layers(model), undecayed(model)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            # Fine-tuning does not decay the class token, unlike MAE's pretraining: MAE, BEiT, SimMIM.
            decayed = parameter.ndim > 1 and name not in without and not name.endswith("cls_token")
            layer = layers[name]
            scale = layer_decay ** (head - layer)
            extra = {} if decayed else {"weight_decay": 0.0}
            group = groups.setdefault((layer, decayed), {"params": [], "layer": layer, "lr_scale": scale, **extra})
            group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _layers(model: nn.Module) -> tuple[dict[str, int], int]:
    """Return the layer of each parameter, and the head's, which is the last."""
    prefix, encoder = _encoder(model)
    layers = {f"{prefix}.{name}": encoder.layer_of(name) for name, _ in encoder.named_parameters()}
    if wrong := [name for name, layer in layers.items() if type(layer) is not int or layer < -1]:
        raise UsageError(
            f"{type(encoder).__name__}.layer_of gives {wrong[0]} the layer {layers[wrong[0]]!r}, but a layer is 0, 1 "
            "and so on, or -1 for parameters with the head's learning rate."
        )
    head = max(layers.values(), default=0) + 1
    layers = {name: layer for name, layer in layers.items() if layer >= 0}
    return {name: layers.get(name, head) for name, _ in model.named_parameters()}, head


def _encoder(model: nn.Module) -> tuple[str, Any]:
    parts = dict(model.named_modules())
    for name in _WHERE:
        encoder = parts.get(name)
        if hasattr(encoder, "layer_of"):
            return name, encoder
        if encoder is not None:
            raise UsageError(
                "LayerDecayConstructor asks the encoder for the layer of each parameter, but "
                f"{type(encoder).__name__} "
                "has no method layer_of(name): add it, or use constructor=DecayGroupsConstructor, which has one "
                "learning rate."
            )
    raise UsageError(
        f"LayerDecayConstructor needs a model with an encoder, but {type(model).__name__} has none: use "
        "constructor=DecayGroupsConstructor, one rate for all."
    )


def _table(groups: list[dict[str, Any]]) -> str:
    head = "Learning rates by layer:\n  layer     scale   peak rate  weight decay  tensors  parameters"
    return "\n".join([head, *_rows(groups)])


def _rows(groups: list[dict[str, Any]]) -> Iterator[str]:
    for group in groups:
        size = sum(parameter.numel() for parameter in group["params"])
        yield (
            f"  {group['layer']:<5} {group['lr_scale']:>9.3g} {group['lr']:>11.3g} "
            f"{group.get('weight_decay', 0.0):>13g} {len(group['params']):>8} {size:>11,}"
        )
