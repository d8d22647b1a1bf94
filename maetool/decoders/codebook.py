"""Predictions of ids by the vectors that the encoder reads them as."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.layers import LayerNorm, words_of
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


@DECODERS.register_module()
class CodebookDecoder(nn.Module):
    """Logits of ids: what another decoder gives, as wide as the encoder's vector of an id, against these vectors.

    Between the two are GELU and a norm; each id has a bias. No gradient reaches the vectors from here.
    Source: MAGE (LTH14/mage, `models_mage.py`, its head, which is BERT's).

    Args:
        decoder: config or module of the decoder.
        out_dim: P, how many ids there are; the target's.
        encoder: whose `TokenStem` has the vectors; the model hands it over.
        stem: its name; None, the only one that reads ids.
        facts: what the encoder and the target state, to build `decoder` from its config.

    Raises:
        UsageError: an encoder without such a stem, or with several.
    """

    part_registries = {"decoder": DECODERS}

    def __init__(
        self,
        decoder: Any,
        out_dim: int,
        encoder: Any,
        stem: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        words = words_of(encoder, stem)
        self.decoder = DECODERS.build(decoder, default_args={**(facts or {}), "out_dim": words.embedding_dim})
        self.norm = LayerNorm(words.embedding_dim, eps=1e-5)  # as published
        self.bias = nn.Parameter(torch.zeros(out_dim))
        self._words = (words,)  # in a tuple, where they are not registered a second time
        self.reads, self.layers = self.decoder.reads, getattr(self.decoder, "layers", None)
        self.any_stride = getattr(self.decoder, "any_stride", False)

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: what the decoder names."""
        return {f"decoder.{name}" for name in getattr(self.decoder, "no_weight_decay", set)()}

    def forward(self, latent: Any, plan: MaskPlan) -> Tensor:
        """Return logits (B, M, P) at `plan.ids_predict`.

        Args:
            latent: what the inner decoder reads: tokens (B, T + V, D), or a list of them.
            plan: of the batch.
        """
        x = self.norm(functional.gelu(self.decoder(latent, plan)))  # (B, M, D)
        return functional.linear(x, self._words[0].weight.detach(), self.bias)
