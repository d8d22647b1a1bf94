"""What the classifier and the regressor share: pooled tokens and a linear layer on them."""

from typing import Any

import torch
from torch import Tensor, nn

from maetool.layers import LayerNorm

from .downstream import DownstreamModel
from .pooling import FeatureNorm, pooling_of


class PooledModel(DownstreamModel):
    """An encoder whose tokens are pooled to one vector, from which a linear layer predicts K numbers.

    Args:
        encoder: the encoder.
        outputs: K.
        data_preprocessor: the module that normalises images; only the runner needs it.
        pooling, own_norm, pool_heads, frozen, batch_norm, head_std: see `ImageClassifier`.

    Raises:
        UsageError: a class token wanted of an encoder without one.
    """

    def __init__(
        self,
        encoder: Any,
        outputs: int,
        data_preprocessor: Any,
        pooling: str,
        own_norm: bool,
        pool_heads: int,
        frozen: bool,
        batch_norm: bool,
        head_std: float,
    ) -> None:
        super().__init__(encoder, frozen, data_preprocessor)
        self.pool = pooling_of(pooling, encoder, pool_heads)
        self.fc_norm: nn.Module = nn.Identity()
        if own_norm:
            self.fc_norm = LayerNorm(encoder.embed_dim)
            encoder.norm = nn.Identity()
        self.head_norm = FeatureNorm(encoder.embed_dim) if batch_norm else nn.Identity()
        self.head = nn.Linear(encoder.embed_dim, outputs)
        nn.init.trunc_normal_(self.head.weight, std=head_std)
        nn.init.zeros_(self.head.bias)

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features (B, D) of images (B, C, H, W)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens = self.encoder(images)  # (B, T + L, D)
        return self.fc_norm(self.pool(tokens))

    def predictions(self, features: Tensor) -> Tensor:
        """Return the outputs of the linear layer, float32 (B, K), for features (B, D)."""
        return self.head(self.head_norm(features)).float()
