"""Layer norms of this family of models."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from maetool.errors import UsageError

# PyTorch's default of 1e-5 is wrong for every model of this family.
LayerNorm = partial(nn.LayerNorm, eps=1e-6)
RMSNorm = partial(nn.RMSNorm, eps=1e-6)
NormKind = Literal["layer", "rms"]


def norm_of(kind: NormKind) -> Callable[[int], nn.Module]:
    """Return what makes the norm of a width.

    Raises:
        UsageError: an unknown kind.
    """
    kinds: dict[str, Callable[[int], nn.Module]] = {"layer": LayerNorm, "rms": RMSNorm}
    if kind not in kinds:
        raise UsageError(f"norm_layer is {kind!r}, but must be 'layer' or 'rms'.")
    return kinds[kind]


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
