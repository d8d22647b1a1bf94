"""A decoder that sees the image only through the class token."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from timm.models.beit import Block as BeitBlock
from torch import Tensor, nn

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import (
    Block,
    LayerNorm,
    call_linear,
    check_heads,
    find_layers,
    init_as_beit,
    init_as_mae,
    run_blocks_at,
)
from maetool.ops.patches import take_tokens
from maetool.registry import DECODERS
from maetool.structures import MaskPlan


@DECODERS.register_module()
class ClassBottleneckDecoder(nn.Module):
    """Patch tokens of an early layer and the prefix of the last one through a few blocks of its own.

    What the late layers know about the image can reach the prediction only through the class token, which so learns to
    gather it. Source: BEiT v2, section 2.3 ("patch aggregation"; microsoft/unilm, `beit2/modeling_pretrain.py`); CCViT.

    Args:
        encoder_dim: D, also of the blocks.
        out_dim: P, numbers to predict for each patch.
        num_layers: blocks of the encoder.
        num_prefix_tokens: T, at least 1.
        early_layer: after how many blocks the patch tokens are taken; by default after three quarters of them.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over D.
        block: "vit", blocks as those of `VisionTransformer`; or "beit", timm's of BEiT: a bias of queries and values
            but none of keys, the encoder's shared relative positions if it has any, and BEiT's initialisation.
        layer_scale: where the factors of the two branches' channels begin; None, there are none.
        drop_path_rate: drop path of the encoder's last block; the blocks go on where the early layer is in its rise.
        share_output: predict with the encoder's final norm and with the linear map of the model's own decoder (BEiT
            v2), instead of a norm and a map of its own (CCViT).
        encoder, encoder_norm, main_decoder: the modules whose parts are shared; the model hands them over.

    Raises:
        UsageError: an encoder without a class token, a layer that there is not, the last one as the early one, an
            unknown block, or nothing to share.
    """

    reads = ("all",)
    layers: Sequence[int] = ()
    debug_arguments: ClassVar = {"early_layer": 1, "depth": 2, "num_heads": 2}

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        num_layers: int,
        num_prefix_tokens: int = 1,
        early_layer: int | None = None,
        depth: FromZero = 2,
        num_heads: Count = 12,
        mlp_ratio: Positive = 4.0,
        block: Literal["vit", "beit"] = "vit",
        layer_scale: float | None = None,
        drop_path_rate: float = 0.0,
        share_output: bool = False,
        encoder: Any = None,
        encoder_norm: nn.Module | None = None,
        main_decoder: Any = None,
    ) -> None:
        super().__init__()
        if num_prefix_tokens < 1:
            raise UsageError("ClassBottleneckDecoder needs a class token: use an encoder that has one.")
        if block not in ("vit", "beit"):
            raise UsageError(f'block is {block!r}, but must be "vit" or "beit".')
        early = 3 * num_layers // 4 if early_layer is None else early_layer
        self.layers = find_layers([early, -1], num_layers)
        if self.layers[0] == self.layers[1]:
            raise UsageError(f"early_layer is {early_layer}, the last of {num_layers}: use one below {num_layers}.")
        self.num_prefix_tokens = num_prefix_tokens
        check_heads(encoder_dim, num_heads)
        rates = _rates(drop_path_rate, self.layers[0], num_layers, depth)
        make = _beit_block if block == "beit" else Block
        self.blocks = nn.ModuleList(make(encoder_dim, num_heads, mlp_ratio, rate, layer_scale) for rate in rates)
        # Modules of others are kept in tuples, where they are not registered a second time.
        self._encoder = (encoder,) if block == "beit" and hasattr(encoder, "shared_positions") else ()
        self._output = _shared_output(encoder_norm, main_decoder, out_dim) if share_output else ()
        self._main = (main_decoder,) if share_output else ()
        if not share_output:
            self.norm, self.pred = LayerNorm(encoder_dim), nn.Linear(encoder_dim, out_dim)
        init_as_mae(self)
        if block == "beit":
            init_as_beit(self, self.layers[0] + 1)
            self._check_positions(num_heads)

    @property
    def main_decoder(self) -> Any:
        """The decoder whose map is shared, or None; a copy of this one uses the map of the copy of that one."""
        return self._main[0] if self._main else None

    def _check_positions(self, num_heads: int) -> None:
        positions = self._positions()
        if positions is not None and positions.shape[1] != num_heads:
            raise UsageError(
                f"num_heads is {num_heads}, but the relative positions of the encoder are of {positions.shape[1]} "
                "heads: set num_heads to that."
            )

    def forward(self, latent: Sequence[Tensor], plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`.

        Args:
            latent: the tokens (B, T + L, D) of the two layers that it reads, the earlier first.
            plan: of the batch.
        """
        early, last = latent
        prefix = self.num_prefix_tokens
        x = torch.cat([last[:, :prefix], early[:, prefix:]], dim=1)  # (B, T + L, D)
        norm, pred = self._output or (self.norm, self.pred)
        return call_linear(pred, norm(self._decode(x, plan.ids_predict + prefix)))  # (B, M, P)

    def _decode(self, x: Tensor, ids: Tensor) -> Tensor:
        """Return the tokens `ids` (B, M) of x (B, T + L, D) after all blocks, (B, M, D)."""
        if not isinstance(next(iter(self.blocks), None), BeitBlock):
            return run_blocks_at(self.blocks, x, ids)
        positions = self._positions()
        for block in self.blocks:
            x = block(x, shared_rel_pos_bias=positions)
        return take_tokens(x, ids)

    def _positions(self) -> Tensor | None:
        """Return the encoder's shared relative positions (1, heads, T + L, T + L), or None."""
        return self._encoder[0].shared_positions() if self._encoder else None


def _rates(last: float, early: int, num_layers: int, depth: int) -> list[float]:
    """Return the drop path of each block: those of the encoder's blocks after the early layer, and so on."""
    steps = max(num_layers, early + depth) - 1
    return [last * (early + i) / max(1, steps) for i in range(depth)]


def _beit_block(dim: int, num_heads: int, mlp_ratio: float, drop_path: float, layer_scale: float | None) -> nn.Module:
    options: dict[str, Any] = {"qkv_bias": True, "init_values": layer_scale, "norm_layer": LayerNorm}
    return BeitBlock(dim, num_heads, mlp_ratio=mlp_ratio, drop_path=drop_path, **options)


def _shared_output(norm: nn.Module | None, main_decoder: Any, out_dim: int) -> tuple[nn.Module, nn.Module]:
    pred = getattr(main_decoder, "pred", None)
    if norm is None or not isinstance(pred, nn.Linear) or pred.out_features != out_dim:
        raise UsageError(
            "share_output takes the encoder's final norm and the linear map of the model's decoder, but there is none "
            f"that predicts {out_dim} numbers: use it in one of model.tasks beside a LinearDecoder, without a target."
        )
    return norm, pred
