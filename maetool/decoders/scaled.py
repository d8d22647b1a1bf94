"""A small decoder on one layer of the encoder, for targets that are finer or coarser than patches."""

from collections.abc import Mapping, Sequence
from math import log2, prod
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import LayerNorm, call_linear, find_layers, init_as_mae
from maetool.ops.geometry import format_size, to_size
from maetool.ops.patches import cell_ids, take_tokens, unravel
from maetool.registry import DECODERS
from maetool.structures import MaskPlan, plan_of_cells

from .transformer import TransformerDecoder

if TYPE_CHECKING:  # for which a fraction is no literal
    Scale = float
else:
    Scale = Literal[0.5, 1, 2, 4]


class _Finer(nn.Module):
    """Each cell to 2 x 2 cells of half the width: a transposed convolution whose kernel is its stride.

    Args:
        dim: channels before.
        shared_bias: one bias for the four cells, as the convolution has, instead of one for each.
    """

    def __init__(self, dim: int, shared_bias: bool) -> None:
        super().__init__()
        self.split = nn.Linear(dim, 2 * dim, bias=not shared_bias)
        self.bias = nn.Parameter(torch.zeros(dim // 2)) if shared_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., 2 rows, 2 columns, dim / 2) of (..., rows, columns, dim)."""
        cells = call_linear(self.split, x).unflatten(-1, (2, 2, -1))  # (..., rows, columns, 2, 2, dim / 2)
        cells = cells if self.bias is None else cells + self.bias
        return cells.transpose(-4, -3).flatten(-5, -4).flatten(-3, -2)


class _Steps(nn.Sequential):
    """Modules one after another, their linear maps by the quicker product."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what leaves the last step."""
        for step in self:
            x = call_linear(step, x)
        return x


@DECODERS.register_module()
class ScaledDecoder(TransformerDecoder):
    """A small transformer decoder on one layer of the encoder, its prediction at `scale` times the grid of patches.

    A layer has a norm of its own; the last layer's is the encoder's, which is trained by this. At a scale of 2 or 4 a
    patch is predicted in 2 x 2 or 4 x 4 cells; at 1/2, 2 x 2 patches share a prediction, that of their mean token.
    Where a layer of a hierarchical encoder has several tokens for a patch, the decoder works on their finer grid, and
    `scale` counts from it. The numbers of a patch are ordered number, row, column, as those of `HOGTarget`.
    Source: LocalMIM, section 3.3 (Haoqing-Wang/LocalMIM, `ViT/models_mim.py`, and `Swin/models_mim.py`).

    Args:
        encoder_dim: D.
        out_dim: P, numbers to predict for each patch.
        grid: (h, w), or one number, the grid that is trained on. Other grids work too.
        num_layers: blocks of the encoder.
        layer: the layer that is read, 0 being what enters the encoder's first block.
        scale: cells along an axis of the grid over tokens there.
        num_prefix_tokens: T; the prefix takes part in the attention.
        embed_dim: E.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over E.
        shared_bias: where a cell is split into four, one bias for all, as published; by default one for each, as in the
            checkpoints of maetool 0.1.0.
        encoder_norm: the encoder's final norm; by default one of its own.
        layer_dims, layer_cells: of a hierarchical encoder, the width of each layer and its tokens of a patch along each
            axis; by default D and one.

    Raises:
        UsageError: sizes that do not divide, a layer that there is not, or an unknown scale.
    """

    layers: Sequence[int] = ()
    reads_cells = True

    def __init__(
        self,
        encoder_dim: int,
        out_dim: int,
        grid: int | Sequence[int],
        num_layers: int,
        layer: int = -1,
        scale: Scale = 1,
        num_prefix_tokens: int = 1,
        embed_dim: Count = 256,
        depth: FromZero = 1,
        num_heads: Count = 8,
        mlp_ratio: Positive = 4.0,
        shared_bias: bool = False,
        encoder_norm: nn.Module | None = None,
        layer_dims: Sequence[int] | None = None,
        layer_cells: Sequence[Sequence[int]] | None = None,
    ) -> None:
        (number,) = layers = find_layers([layer], num_layers)
        width = layer_dims[number] if layer_dims else encoder_dim
        cells = tuple(layer_cells[number]) if layer_cells else (1, 1)
        finer = [side * own for side, own in zip(to_size(grid, "grid"), cells, strict=True)]
        _check_scale(scale, out_dim, finer, cells)
        super().__init__(width, out_dim, finer, num_prefix_tokens, embed_dim, depth, num_heads, mlp_ratio)
        self.layers, self.scale, self.cells = layers, scale, cells
        shared = None if self.layers != [num_layers] else encoder_norm
        # In a tuple, where it is not registered a second time.
        self._shared: tuple[nn.Module, ...] = () if shared is None else (shared,)
        if shared is None:
            self.layer_norm = LayerNorm(width)
        self.pred = _head(embed_dim, out_dim // _cells(scale, cells), scale, shared_bias)
        init_as_mae(self)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        # The small form of a hierarchical encoder keeps its stages, and that of others has two blocks.
        layers = len(arguments.get("encoder", {}).get("depths", (1, 1)))
        return {**super().debug_arguments(arguments), "layer": min(arguments["layer"], layers)}

    @property
    def encoder_norm(self) -> nn.Module:
        """The norm that the layer passes first."""
        return self._shared[0] if self._shared else self.layer_norm

    def forward(self, latent: Tensor | Sequence[Tensor], plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) at `plan.ids_predict`.

        Args:
            latent: a list of one, the tokens (B, T + V, D) of the layer that it reads, or (B, V * cells, width).
            plan: of the batch.

        Raises:
            UsageError: a scale of 1/2 on a grid with an odd side.
        """
        finer = plan_of_cells(plan, self.cells)
        _check_even(self.scale, finer.grid)
        x = self.encoder_norm(latent[0])
        if self.scale == 0.5 and prod(self.cells) == 1:
            return self._of_several(x, plan)
        x = self.decode(x, finer, cell_ids(plan.ids_predict, plan.grid, self.cells))
        x = x.unflatten(1, (-1, *self.cells))  # (B, M, rows, columns, E)
        x = x if self.scale >= 1 else x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean(dim=(3, 5))
        return call_linear(self.pred, x).flatten(2, 3).transpose(2, 3).flatten(2)  # (B, M, P)

    def _of_several(self, x: Tensor, plan: MaskPlan) -> Tensor:
        """Return predictions (B, M, P) that 2 x 2 patches share, of normalised tokens (B, T + V, D)."""
        everywhere = torch.arange(plan.mask.shape[1], device=x.device).expand(len(x), -1)
        x = self.decode(x, plan, everywhere).unflatten(1, plan.grid)  # (B, h, w, E)
        coarse = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).mean(dim=(2, 4)).flatten(1, 2)  # (B, L / 4, E)
        row, column = unravel(plan.ids_predict, plan.grid)
        return call_linear(self.pred, take_tokens(coarse, row // 2 * (plan.grid[1] // 2) + column // 2))


def _cells(scale: float, cells: Sequence[int]) -> int:
    """Return how many cells of a patch are predicted, at a scale of tokens of which it has `cells` along each axis."""
    return prod(max(1, round(own * scale)) for own in cells)


def _check_scale(scale: float, out_dim: int, grid: Sequence[int], cells: Sequence[int]) -> None:
    if scale not in (0.5, 1, 2, 4):
        raise UsageError(f"scale is {scale!r}, but must be 0.5, 1, 2 or 4.")
    _check_even(scale, grid)
    if out_dim % (number := _cells(scale, cells)):
        raise UsageError(
            f"A scale of {scale} makes {number} cells of a patch, but the target has {out_dim} numbers: use one with "
            f"{number} equal cells, such as HOGTarget with cell_size a {round(cells[0] * scale)}th of the patch."
        )


def _check_even(scale: float, grid: Sequence[int]) -> None:
    if scale == 0.5 and any(side % 2 for side in grid):
        raise UsageError(
            f"A scale of 0.5 joins 2x2 patches, but a grid of {format_size(grid)} is odd: use another scale, or "
            "images with an even number of patches along each axis."
        )


def _head(dim: int, out_dim: int, scale: float, shared_bias: bool) -> nn.Module:
    if scale <= 1:
        return nn.Linear(dim, out_dim)
    steps: list[nn.Module] = []
    for number in range(round(log2(scale))):
        width = dim // 2**number
        steps += [LayerNorm(width), nn.GELU()] if number else []
        steps += [_Finer(width, shared_bias)]
    return _Steps(*steps, nn.Linear(dim // int(scale), out_dim))
