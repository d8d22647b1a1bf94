"""How weights begin: as MAE's, or as BEiT's."""

from typing import Any, Literal

import torch
from torch import nn

from maetool.errors import UsageError

from .embed import PatchEmbed

Init = Literal["mae", "beit"]


def initialise(module: nn.Module, kind: Init = "mae") -> None:
    """Initialise a part in place.

    Args:
        module: the part.
        kind: "mae", see `init_as_mae`; or "beit", see `init_as_beit`.

    Raises:
        UsageError: another kind.
    """
    if kind not in ("mae", "beit"):
        raise UsageError(f'init is {kind!r}, but must be "mae" or "beit".')
    init_as_mae(module)
    if kind == "beit":
        init_as_beit(module)


def init_as_mae(module: nn.Module) -> None:
    """Initialise as MAE does: linear layers xavier uniform with zero bias, tokens normal with deviation 0.02.

    The convolution of a patch embedding is xavier uniform on its flattened view and keeps torch's default bias.
    Source: `models_mae.py` of facebookresearch/mae.

    Args:
        module: initialised in place: the linear layers and patch embeddings inside it, and its own tokens.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, PatchEmbed):
            nn.init.xavier_uniform_(part.proj.weight.view(part.proj.out_channels, -1))
    for name, token in module.named_parameters(recurse=False):
        if name.endswith("_token"):
            nn.init.normal_(token, std=0.02)


def init_as_beit(module: nn.Module, first: int = 1) -> None:
    """Initialise as BEiT and I-JEPA do: weights and tokens normal with deviation 0.02, and what ends a branch smaller.

    Those that end a branch of block i are divided by the root of 2 i, biases are 0. Source: `src/models/
    vision_transformer.py` of facebookresearch/ijepa; `beit/modeling_pretrain.py` of microsoft/unilm.

    Args:
        module: initialised in place: the linear layers and patch embeddings inside it, its own tokens and its `blocks`.
        first: number of its first block.
    """
    for part in module.modules():
        linear: Any = part.proj if isinstance(part, PatchEmbed) else part
        if isinstance(linear, nn.Linear) or linear is not part:
            nn.init.trunc_normal_(linear.weight, std=0.02)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
    for name, token in module.named_parameters(recurse=False):
        if name.endswith("_token"):
            nn.init.trunc_normal_(token, std=0.02)
    blocks: Any = getattr(module, "blocks", ())
    with torch.no_grad():
        for number, block in enumerate(blocks, start=first):
            for name in ("attn.proj.weight", "mlp.fc2.weight"):
                block.get_parameter(name).div_((2 * number) ** 0.5)
