"""Ids of a codebook, of words, or of whatever is counted."""

import torch
from torch import Tensor, nn

from maetool.annotations import Count, Size
from maetool.errors import UsageError
from maetool.ops.geometry import format_size, rank_of, to_size
from maetool.registry import STEMS
from maetool.structures import Layout

from .base import Stem


@STEMS.register_module()
class TokenStem(Stem):
    """A learned vector for each id.

    The norm that BERT and MAGE put after word and position is the encoder's `pre_norm`.

    Args:
        codebook: ids, from 0.
        grid: places along each axis, of the size that is trained on; (256,) for a sentence, one number for a square.
        embed_dim: D; the encoder's.
        padding: the id of places that hold nothing; None, there are none.

    Raises:
        UsageError: another grid than of 1, 2 or 3 axes.
    """

    def __init__(self, codebook: Count, grid: Size = 16, embed_dim: Count = 768, padding: int | None = None) -> None:
        super().__init__()
        self.grid = to_size(grid, "grid", rank_of(grid))
        self.patch_size, self.in_chans = (1,) * len(self.grid), 1
        self.codebook, self.padding = codebook, padding
        self.word_embeddings = nn.Embedding(codebook, embed_dim)
        nn.init.normal_(self.word_embeddings.weight, std=0.02)

    def layout_of(self, x: Tensor) -> Layout:
        """Return where the ids `x`, int64 (B, *grid), or (B, L) of the grid that is trained on, lie.

        Raises:
            UsageError: another kind of numbers, or another number of axes.
        """
        if x.dtype not in (torch.int64, torch.int32) or (x.ndim - 1 != len(self.grid) and not self._is_flat(x)):
            raise UsageError(
                f"TokenStem takes int64 ids of shape (batch, {', '.join(map(str, self.grid))}), but got {x.dtype} "
                f"{format_size(x.shape)}: convert them, or set grid."
            )
        grid = self.grid if self._is_flat(x) else tuple(x.shape[1:])
        valid = None if self.padding is None else x.flatten(1) != self.padding
        return Layout(Layout.of(grid).grids, valid=valid)

    def _is_flat(self, x: Tensor) -> bool:
        return x.ndim == 2 and len(self.grid) > 1 and x.shape[1] == torch.Size(self.grid).numel()

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (B, L, D) of ids `x`, int64 (B, *grid) or (B, L)."""
        ids = x.flatten(1)
        return self.word_embeddings(ids if self.padding is None else ids.masked_fill(ids == self.padding, 0))
