"""A linear map as decoder of what is visible."""

from torch import Tensor, nn

from maetool.layers import Linear, init_as_mae
from maetool.ops.patches import take_tokens
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


@DECODERS.register_module()
class VisibleDecoder(nn.Module):
    """One linear map from each visible token to its own patch, for what is learned from visible patches.

    Source: the mimic head of MR-MAE; the alignment of DMAE.

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch.
        num_prefix_tokens: T; the prefix predicts nothing.

    Attributes:
        predicts: "visible", the only patches that it can predict.
    """

    reads = ("visible",)
    predicts = "visible"

    def __init__(self, encoder_dim: int, out_dim: int, num_prefix_tokens: int = 1) -> None:
        super().__init__()
        self.num_prefix_tokens = num_prefix_tokens
        self.pred = Linear(encoder_dim, out_dim)
        init_as_mae(self)

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`, visible patches, from tokens (B, T + V, D)."""
        places = plan.ids_restore.gather(1, plan.ids_predict)  # (B, M), where each stands among the visible ones
        return self.pred(take_tokens(latent, places + self.num_prefix_tokens))  # (B, M, P)
