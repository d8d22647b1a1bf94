"""Fusion of several layers of the encoder in front of any decoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maetool.layers import LayerNorm, call_linear, find_layers, init_as_mae
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


@DECODERS.register_module()
class LayerFusionDecoder(nn.Module):
    """A weighted sum of layers in front of another decoder; all but the last pass a linear map first.

    The weights are a softmax and start equal. The sum passes the encoder's final norm, which is trained by this and
    normalises the last layer alone in later use, when the fusion is gone.
    Source: MFF, section 3.2; behaviour of `mff.py` (open-mmlab/mmpretrain).

    Args:
        decoder: config or module of the decoder that reads the sum.
        layers: which layers of the encoder are fused, 0 being what enters the first block; the last is not mapped.
        encoder_dim: D.
        num_layers: blocks of the encoder.
        encoder_norm: the encoder's final norm; by default one of its own. It stays the encoder's in checkpoints.
        facts: what the encoder and the target state, to build `decoder` from its config.

    Raises:
        UsageError: layers that there are not.
    """

    part_registries = {"decoder": DECODERS}

    layers: Sequence[int] = ()

    def __init__(
        self,
        decoder: Any,
        layers: Sequence[int],
        encoder_dim: int,
        num_layers: int,
        encoder_norm: nn.Module | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.layers = find_layers(layers, num_layers)
        self.projections = nn.ModuleList(nn.Linear(encoder_dim, encoder_dim) for _ in self.layers[:-1])
        self.layer_weights = nn.Parameter(torch.ones(len(self.layers), 1, 1, 1))
        if encoder_norm is None:
            self.norm = LayerNorm(encoder_dim)
        self._shared = (encoder_norm,)  # in a tuple, where it is not registered a second time
        init_as_mae(self)
        self.decoder = DECODERS.build(decoder, default_args=facts)
        self.reads = self.decoder.reads
        self.predicted_prefix = getattr(self.decoder, "predicted_prefix", 0)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"layers": [min(layer, 2) for layer in arguments["layers"]]}

    @property
    def encoder_norm(self) -> nn.Module:
        """The norm that the sum passes."""
        return self.norm if self._shared[0] is None else self._shared[0]

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: one weight a layer, no matrix, and what the decoder names."""
        inner = getattr(self.decoder, "no_weight_decay", set)
        return {"layer_weights"} | {f"decoder.{name}" for name in inner()}

    def forward(self, latent: Sequence[Tensor], plan: MaskPlan) -> Tensor:
        """Return the predictions (B, M, P) of the inner decoder at `plan.ids_predict`.

        Args:
            latent: the tokens (B, N, D) of each of `layers`, prefix first.
            plan: of the batch.
        """
        mapped = [call_linear(project, x) for project, x in zip(self.projections, latent[:-1], strict=True)]
        weights = self.layer_weights.softmax(dim=0)
        fused = sum(weight * x for weight, x in zip(weights, [*mapped, latent[-1]], strict=True))  # (B, N, D)
        return self.decoder(self.encoder_norm(fused), plan)  # (B, M, P)
