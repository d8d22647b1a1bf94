"""A second stack of blocks on the input of the model's decoder."""

from typing import Any, ClassVar

from torch import Tensor, nn

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import LayerNorm, call_linear, check_heads, init_as_mae, run_blocks_at, transformer_blocks
from maetool.layers.positions import ROTARY, with_positions
from maetool.registry import DECODERS
from maetool.structures import MaskPlan

from .places import check_no_groups
from .transformer import TransformerDecoder


@DECODERS.register_module()
class BranchDecoder(nn.Module):
    """Blocks, norm and prediction of its own for a task, on the tokens that enter the blocks of the model's decoder.

    The map from the encoder's width, the mask token and the positions are those of the model's decoder, and both learn
    them. Source: the loss predictor of HPM (Haochen-Wang409/HPM, `models_mae_learn_loss.py`).

    Args:
        out_dim: P, numbers to predict for each patch.
        depth: number of blocks.
        num_heads: attention heads of a block; by default as many as those of the model's decoder.
        mlp_ratio: width of a block's hidden layer over E, the width of the model's decoder.
        drop_path_rate: drop path of the last block; it rises linearly from 0.
        main_decoder: the model's decoder, a `TransformerDecoder`; the model hands it over to tasks.

    Raises:
        UsageError: no such decoder, or heads that do not fit it.
    """

    reads = ("visible", "blank")
    debug_arguments: ClassVar = {"depth": 1, "num_heads": None, "mlp_ratio": 2.0}

    def __init__(
        self,
        out_dim: int,
        depth: FromZero = 8,
        num_heads: Count | None = None,
        mlp_ratio: Positive = 4.0,
        drop_path_rate: float = 0.0,
        main_decoder: Any = None,
    ) -> None:
        super().__init__()
        if not isinstance(main_decoder, TransformerDecoder):
            raise UsageError(
                f"BranchDecoder reads what enters the blocks of the model's decoder, which is "
                f"{type(main_decoder).__name__}: use it in one of model.tasks beside a TransformerDecoder."
            )
        self._main = (main_decoder,)  # in a tuple, where it is not registered a second time
        width, head_dim = main_decoder.embed_dim, main_decoder.head_dim
        num_heads = num_heads or width // head_dim
        check_heads(width, num_heads)
        if main_decoder.positions in ROTARY and width // num_heads != head_dim:
            raise UsageError(
                f"num_heads is {num_heads}, but the rotary positions of the model's decoder are of {width // head_dim} "
                "heads: leave it out."
            )
        self.blocks = transformer_blocks(width, depth, num_heads, mlp_ratio, drop_path_rate)
        self.norm = LayerNorm(width)
        self.pred = nn.Linear(width, out_dim)
        init_as_mae(self)

    @property
    def main_decoder(self) -> TransformerDecoder:
        """The decoder whose input is read; a copy of this one uses the copy of that one."""
        return self._main[0]

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`.

        Args:
            latent: tokens (B, T + V, D), prefix first.
            plan: of the batch.

        Raises:
            UsageError: the plan asks for groups that are predicted separately.
        """
        check_no_groups(plan, self)
        main = self.main_decoder
        x = with_positions(main, main._restored(latent, plan), main._places(plan))  # (B, T + L, E)
        ids = plan.ids_predict + main.num_prefix_tokens
        x = run_blocks_at(self.blocks, x, ids, main._valid(plan), main._rope(plan, x.device))  # (B, M, E)
        return call_linear(self.pred, self.norm(x))
