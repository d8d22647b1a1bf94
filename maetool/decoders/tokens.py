"""Tokens as they are, in place of predictions."""

from typing import Any, Literal

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.layers import call_linear, init_as_mae
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


@DECODERS.register_module()
class TokensDecoder(nn.Module):
    """Gives the tokens themselves, for heads that look at what the encoder or the model's own decoder gives.

    Only where they are not as wide as the target, a linear map makes them so.

    Args:
        encoder_dim: D.
        out_dim: P, of the target.
        num_prefix_tokens: T, which are left out.
        of: the tokens: those of "visible" patches; or, in a task with `reads="main"`, what is "predicted".

    Raises:
        UsageError: an unknown choice.
    """

    reads: Any = ("visible", "blank")
    predicts: str

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        num_prefix_tokens: int = 1,
        of: Literal["visible", "predicted"] = "visible",
    ) -> None:
        super().__init__()
        if of not in ("visible", "predicted"):
            raise UsageError(f'of is {of!r}, but must be "visible" or "predicted".')
        self.num_prefix_tokens, self.predicts = num_prefix_tokens, "visible" if of == "visible" else "planned"
        self.reads = ("visible", "blank") if of == "visible" else ("predicted",)
        self.pred = None if encoder_dim == out_dim else nn.Linear(encoder_dim, out_dim)
        init_as_mae(self)

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return tokens (B, M, P) at `plan.ids_predict`.

        Args:
            latent: tokens (B, T + V, D), prefix first; or predictions (B, M, D).
            plan: of the batch.
        """
        seen = self.predicts == "visible"
        tokens = plan.take_seen(latent[:, self.num_prefix_tokens :]) if seen else latent
        return tokens if self.pred is None else call_linear(self.pred, tokens)
