"""Visible tokens of all layers mixed for each layer of a teacher."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.layers import call_linear, find_layers, init_as_mae, mix_layers
from maetool.registry import DECODERS
from maetool.structures import MaskPlan

from .places import check_prefix, take_seen


@DECODERS.register_module()
class AlignmentDecoder(nn.Module):
    """A learned mixture of the encoder's layers, and a linear map, for each of the layers that a target concatenates.

    The encoder's raw tokens are read: build it with `final_norm=False`. Source: MaskAlign, its dynamic alignment
    (OpenDriveLab/maskalign, `models_pretrain.py`).

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch: equally many for each layer of the target.
        num_layers: blocks of the encoder; what leaves each of them is mixed.
        begin_as: for each layer of the target, the layer of the encoder that its mixture begins as: the weight is 1
            there, and `offset` is added to all.
        offset: see `begin_as`.
        num_prefix_tokens: T.
        predict_prefix: predict the prefix too, whose predictions come first; the target must give it.

    Attributes:
        predicts: "visible", the only patches that it can predict.
        predicted_prefix: tokens of the prefix that are predicted, T or 0.

    Raises:
        UsageError: no prefix to predict, a layer that there is not, or layers that do not divide P.
    """

    reads = ("visible", "blank")
    predicts = "visible"
    layers: Sequence[int] = ()

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        num_layers: int,
        begin_as: Sequence[int] = (-1,),
        offset: float = 0.01,
        num_prefix_tokens: int = 1,
        predict_prefix: bool = False,
    ) -> None:
        super().__init__()
        check_prefix(num_prefix_tokens, predict_prefix)
        begin = find_layers(begin_as, num_layers)
        if 0 in begin or out_dim % len(begin):
            raise UsageError(
                f"begin_as is {list(begin_as)}, but must name for each layer that the target concatenates one of the "
                f"layers 1 to {num_layers}, and so many layers that they divide the target's {out_dim} numbers."
            )
        self.num_prefix_tokens, self.predicted_prefix = num_prefix_tokens, num_prefix_tokens if predict_prefix else 0
        self.layers = list(range(1, num_layers + 1))
        self.mix = nn.Linear(num_layers, len(begin), bias=False)
        self.preds = nn.ModuleList(nn.Linear(encoder_dim, out_dim // len(begin)) for _ in begin)
        init_as_mae(self)
        with torch.no_grad():
            self.mix.weight.fill_(offset)
            self.mix.weight[range(len(begin)), [layer - 1 for layer in begin]] += 1

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"begin_as": [min(layer, 2) for layer in arguments["begin_as"]]}

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: the weights of the layers."""
        return {"mix.weight"}

    def forward(self, latent: Sequence[Tensor], plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`, all visible; with `predict_prefix` (B, T + M, P).

        Args:
            latent: the tokens (B, T + V, D) of each block, prefix first.
            plan: of the batch.
        """
        mixed = mix_layers(self.mix, latent)
        chosen = [take_seen(x, plan, self.num_prefix_tokens, self.predicted_prefix) for x in mixed]
        return torch.cat([call_linear(pred, x) for pred, x in zip(self.preds, chosen, strict=True)], dim=-1)
