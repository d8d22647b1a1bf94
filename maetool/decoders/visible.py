"""A linear map as decoder of what is visible."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from maetool.layers import call_linear, find_layers, init_as_mae
from maetool.registry import DECODERS
from maetool.structures import MaskPlan

from .places import check_prefix, take_seen


@DECODERS.register_module()
class VisibleDecoder(nn.Module):
    """One linear map from each visible token to its own patch, for what is learned from visible patches.

    Source: the mimic head of MR-MAE; the alignment of DMAE.

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch.
        num_prefix_tokens: T.
        num_layers: blocks of the encoder.
        layer: whose raw tokens are read, 0 being what enters the first block (DMAE); None reads the normalised last.
        predict_prefix: predict the prefix too, whose predictions come first; the target must give it (DMAE).

    Attributes:
        predicts: "visible", the only patches that it can predict.
        predicted_prefix: tokens of the prefix that are predicted, T or 0.

    Raises:
        UsageError: no prefix to predict, or a layer that there is not.
    """

    reads = ("visible", "blank")
    predicts = "visible"

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        num_prefix_tokens: int = 1,
        num_layers: int = 0,
        layer: int | None = None,
        predict_prefix: bool = False,
    ) -> None:
        super().__init__()
        check_prefix(num_prefix_tokens, predict_prefix)
        self.num_prefix_tokens, self.predicted_prefix = num_prefix_tokens, num_prefix_tokens if predict_prefix else 0
        self.layers = None if layer is None else find_layers([layer], num_layers)
        self.pred = nn.Linear(encoder_dim, out_dim)
        init_as_mae(self)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {} if arguments["layer"] is None else {"layer": min(arguments["layer"], 2)}

    def forward(self, latent: Tensor | Sequence[Tensor], plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`, all visible; with `predict_prefix` (B, T + M, P).

        Args:
            latent: tokens (B, T + V, D), prefix first, or a list of them, of which the first is read.
            plan: of the batch.
        """
        tokens = latent if isinstance(latent, Tensor) else latent[0]
        return call_linear(self.pred, take_seen(tokens, plan, self.num_prefix_tokens, self.predicted_prefix))
