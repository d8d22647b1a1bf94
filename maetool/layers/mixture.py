"""Weighted sums of an encoder's layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maetool.ops.cpu import autocast_dtype

from .calls import is_plain


def mix_layers(mix: nn.Module, layers: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the weighted sums of layers that a linear map without bias makes, each (B, N, D).

    Args:
        mix: from as many numbers as there are layers to as many as there are sums.
        layers: the tokens (B, N, D) of each layer.
    """
    if not is_plain(mix, nn.Linear):
        return mix(torch.stack(list(layers), dim=-1)).unbind(-1)
    # One product for all sums; layers come first, so that nothing is transposed.
    dtype = autocast_dtype(layers[0]) or layers[0].dtype  # rounded before they are stacked: half the copy
    stacked = torch.stack([tokens.to(dtype) for tokens in layers]).flatten(1)  # (k, B * N * D)
    return (mix.weight.to(dtype) @ stacked).unflatten(1, layers[0].shape).unbind(0)
