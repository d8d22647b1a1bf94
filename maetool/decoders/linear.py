"""A linear map as decoder."""

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from maetool.layers import call_linear, init_as_mae
from maetool.ops.geometry import rank_of, to_size
from maetool.ops.patches import unpatchify
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


@DECODERS.register_module()
class LinearDecoder(nn.Module):
    """One linear map from each token to its patch, for encoders that see mask tokens: they decode themselves.

    Where a token covers several patches (a hierarchical encoder's does), it predicts all of them.
    Source: SimMIM, section 3.3 (there a 1x1 convolution and a pixel shuffle); MaskFeat, section 3.

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch.
        num_prefix_tokens: T; the prefix predicts nothing.
        patches_per_token: patches that a token covers along each axis.
    """

    reads = ("all",)
    any_stride = True

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        num_prefix_tokens: int = 1,
        patches_per_token: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        self.num_prefix_tokens = num_prefix_tokens
        self.patches_per_token = to_size(patches_per_token, "patches_per_token", rank_of(patches_per_token))
        self.pred = nn.Linear(encoder_dim, prod(self.patches_per_token) * out_dim)
        init_as_mae(self)

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`.

        Args:
            latent: tokens (B, T + N, D), N of them on the grid of the encoder's stride.
            plan: of the batch.
        """
        x = latent[:, self.num_prefix_tokens :]  # (B, N, D)
        if prod(self.patches_per_token) == 1:
            return call_linear(self.pred, plan.take_predicted(x))  # (B, M, P)
        grid = [side // unit for side, unit in zip(plan.grid, self.patches_per_token, strict=True)]
        cells = unpatchify(call_linear(self.pred, x), grid, self.patches_per_token)  # (B, P, h, w)
        return plan.take_predicted(cells.flatten(2).transpose(1, 2))  # (B, M, P)
