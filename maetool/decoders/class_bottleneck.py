"""A decoder that sees the image only through the class token."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.layers import LayerNorm, Linear, find_layers, init_as_mae, run_blocks_at, transformer_blocks
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


@DECODERS.register_module()
class ClassBottleneckDecoder(nn.Module):
    """Patch tokens of an early layer and the prefix of the last one through a few blocks of its own.

    What the late layers know about the image can reach the prediction only through the class token, which so learns to
    gather it. Source: BEiT v2, section 2.3 ("patch aggregation"); CCViT.

    Args:
        encoder_dim: D, also of the blocks.
        out_dim: P, numbers to predict for each patch.
        num_layers: blocks of the encoder.
        num_prefix_tokens: T, at least 1.
        early_layer: after how many blocks the patch tokens are taken; by default after three quarters of them.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over D.

    Raises:
        UsageError: an encoder without a class token, a layer that there is not, or the last one as the early one.
    """

    reads = ("all",)
    layers: Sequence[int] = ()

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        num_layers: int,
        num_prefix_tokens: int = 1,
        early_layer: int | None = None,
        depth: int = 2,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        if num_prefix_tokens < 1:
            raise UsageError("ClassBottleneckDecoder needs a class token: take an encoder that has one.")
        early = 3 * num_layers // 4 if early_layer is None else early_layer
        self.layers = find_layers([early, -1], num_layers)
        if self.layers[0] == self.layers[1]:
            raise UsageError(f"early_layer is {early_layer}, the last of {num_layers}: take one below {num_layers}.")
        self.num_prefix_tokens = num_prefix_tokens
        self.blocks = transformer_blocks(encoder_dim, depth, num_heads, mlp_ratio)
        self.norm = LayerNorm(encoder_dim)
        self.pred = Linear(encoder_dim, out_dim)
        init_as_mae(self)

    def forward(self, latent: Sequence[Tensor], plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict` from the tokens (B, T + L, D) of both layers."""
        early, last = latent
        prefix = self.num_prefix_tokens
        x = torch.cat([last[:, :prefix], early[:, prefix:]], dim=1)  # (B, T + L, D)
        x = run_blocks_at(self.blocks, x, plan.ids_predict + prefix)  # (B, M, D)
        return self.pred(self.norm(x))  # (B, M, P)
