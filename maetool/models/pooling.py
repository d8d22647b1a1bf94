"""From the tokens of an image to one vector, and what standardises it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.errors import UsageError
from maetool.layers import Attention, LayerNorm, init_as_mae
from maetool.ops.device import reading_is_free
from maetool.ops.prefix import has_class_token


class FirstToken(nn.Module):
    """The class token.

    Args:
        num_prefix_tokens: T of the encoder; 0 if its prefix has no class token.

    Raises:
        UsageError: the encoder has no class token.
    """

    def __init__(self, num_prefix_tokens: int) -> None:
        super().__init__()
        if num_prefix_tokens < 1:
            raise UsageError('The encoder has no class token to pool: use model.pooling="avg" or "attention".')

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, D) of tokens (B, T + L, D)."""
        return tokens[:, 0]


class PatchMean(nn.Module):
    """The mean of the patch tokens, without the prefix.

    Args:
        num_prefix_tokens: T of the encoder.
    """

    def __init__(self, num_prefix_tokens: int) -> None:
        super().__init__()
        self.num_prefix_tokens = num_prefix_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, D) of tokens (B, T + L, D)."""
        return tokens[:, self.num_prefix_tokens :].mean(dim=1)


class AttentivePooling(nn.Module):
    """What one learned query finds in all tokens: attention pooling as in attentive probing.

    Args:
        embed_dim: D.
        num_heads: attention heads.

    Raises:
        UsageError: the width does not divide into the heads.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim % num_heads:
            raise UsageError(
                f"model.pool_heads is {num_heads}, but must be a divisor of the encoder's width, {embed_dim}."
            )
        self.query = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.norm = LayerNorm(embed_dim)
        self.attn = Attention(embed_dim, num_heads)
        init_as_mae(self)
        nn.init.trunc_normal_(self.query, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (B, D) of tokens (B, T + L, D)."""
        return self.attn(self.norm(tokens), self.query.expand(tokens.shape[0], -1, -1).to(tokens.dtype))[:, 0]


class FeatureNorm(nn.BatchNorm1d):
    """Batch norm without learned parameters, as in front of MAE's linear probe.

    Features that are not finite leave its running statistics as they are: the step is left out, and they would stay
    broken for good.

    Args:
        embed_dim: D.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__(embed_dim, eps=1e-6, affine=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (B, D), standardised over the batch, or in evaluation by the running statistics."""
        if not self.training:
            return super().forward(features)
        finite = features.isfinite().all()
        if reading_is_free(features):
            if not finite:
                return functional.batch_norm(features, None, None, training=True, eps=self.eps)
            return super().forward(features)
        before = [value.clone() for value in self.buffers()]
        standardised = super().forward(features)
        for value, old in zip(self.buffers(), before, strict=True):
            value.copy_(torch.where(finite, value, old))
        return standardised


def pooling_of(name: str, encoder: Any, num_heads: int) -> nn.Module:
    """Return the module that pools the tokens of an encoder.

    Args:
        name: "cls", "avg" or "attention".
        encoder: whose tokens are pooled.
        num_heads: of the attention.

    Raises:
        UsageError: another name, or "cls" for an encoder without a class token.
    """
    if name == "cls":
        return FirstToken(encoder.num_prefix_tokens if has_class_token(encoder) else 0)
    if name == "avg":
        return PatchMean(encoder.num_prefix_tokens)
    if name == "attention":
        return AttentivePooling(encoder.embed_dim, num_heads)
    raise UsageError(f'pooling is {name!r}, but must be "cls", "avg" or "attention".')
