"""Layer norms of this family of models."""

from functools import partial

from torch import Tensor, nn

# PyTorch's default of 1e-5 is wrong for every model of this family.
LayerNorm = partial(nn.LayerNorm, eps=1e-6)


class LayerNorm2d(nn.LayerNorm):
    """Layer norm of the channels at each place of a map (B, C, H, W).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
