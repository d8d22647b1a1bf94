"""Layer norms of this family of models."""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from maetool.errors import UsageError

# PyTorch's default of 1e-5 is wrong for every model of this family.
LayerNorm = partial(nn.LayerNorm, eps=1e-6)
RMSNorm = partial(nn.RMSNorm, eps=1e-6)
NormKind = Literal["layer", "rms", "rms_1e-5"]
FinalNorm = bool | Literal["fixed"]


def norm_of(kind: NormKind) -> Callable[..., nn.Module]:
    """Return what makes the norm of a width; "rms_1e-5" adds 1e-5 to the mean square instead of 1e-6 (CAPI).

    Raises:
        UsageError: an unknown kind.
    """
    kinds: dict[str, Callable[..., nn.Module]] = {"layer": LayerNorm, "rms": RMSNorm}
    kinds["rms_1e-5"] = partial(nn.RMSNorm, eps=1e-5)
    if kind not in kinds:
        raise UsageError(f"norm_layer is {kind!r}, but must be 'layer' or 'rms', or 'rms_1e-5' for another eps.")
    return kinds[kind]


def final_norm_of(kind: NormKind, embed_dim: int, final: FinalNorm) -> nn.Module:
    """Return the norm of what leaves the last block, (..., D): learned, "fixed", without weights, or none.

    Args:
        kind: see `norm_of`.
        embed_dim: D.
        final: True, "fixed", or False.

    Raises:
        UsageError: another choice.
    """
    if final not in (True, False, "fixed"):
        raise UsageError(f"final_norm is {final!r}, but must be True, False or 'fixed', a norm without weights.")
    if final is False:
        return nn.Identity()
    return norm_of(kind)(embed_dim, elementwise_affine=final is True)


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
