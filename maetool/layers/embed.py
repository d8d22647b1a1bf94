"""Patches to tokens."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.cpu import linear
from maetool.ops.patches import take_patches

from .calls import is_plain

CONVOLUTIONS: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class PatchEmbed(nn.Module):
    """Patches to tokens by one linear map, stored as the convolution `proj` as in timm.

    Args:
        patch_size: pixels of a patch along each axis, of which there are 1 to 3.
        in_chans: C.
        embed_dim: D.
    """

    def __init__(self, patch_size: Sequence[int], in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.patch_size = tuple(patch_size)
        convolution: Any = CONVOLUTIONS[len(self.patch_size)]  # each takes a tuple of its own length
        self.proj = convolution(in_chans, embed_dim, kernel_size=self.patch_size, stride=self.patch_size)

    def forward(self, images: Tensor, ids: Tensor | None = None) -> Tensor:
        """Embed all patches of images (B, C, *size) as (B, L, D), or only the patches `ids` (B, N) as (B, N, D)."""
        if ids is None:
            return self.proj(images).flatten(2).transpose(1, 2)  # (B, L, D)
        return embed_patches(self.proj, images, ids, self.patch_size)  # (B, N, D)


def embed_patches(proj: Any, images: Tensor, ids: Tensor, patch_size: Sequence[int] | None = None) -> Tensor:
    """Return the tokens (B, N, D) that a convolution, its kernel being its stride, gives the patches `ids` (B, N).

    Args:
        proj: a convolution such as `nn.Conv2d`, or what replaces it.
        images: (B, C, *size).
        ids: of the patches.
        patch_size: such as (ph, pw), which is the kernel; None asks `proj`.
    """
    patches = take_patches(images, patch_size or proj.kernel_size, ids)  # (B, N, C, *patch_size)
    if is_plain(proj, CONVOLUTIONS[patches.ndim - 3]):
        return linear(patches.flatten(2), proj.weight.flatten(1), proj.bias)
    return proj(patches.flatten(0, 1)).flatten(1).unflatten(0, ids.shape)


def words_of(encoder: Any, stem: str | None = None) -> nn.Embedding:
    """Return the vectors of the ids that a stem of an encoder reads.

    Args:
        encoder: with `stems`.
        stem: its name; None, the only one that reads ids.

    Raises:
        UsageError: there is no such stem, or there are several.
    """
    stems = dict(getattr(encoder, "stems", {}).items())
    tables = {name: each.word_embeddings for name, each in stems.items() if hasattr(each, "word_embeddings")}
    chosen = list(tables) if stem is None else [name for name in tables if name == stem]
    if len(chosen) != 1:
        raise UsageError(
            f"Ids are read by the stems {', '.join(tables) or 'none'} of {type(encoder).__name__}, but "
            f"{'one is needed' if stem is None else f'{stem!r} is named'}: use StreamTransformer with one TokenStem, "
            "or name one of several."
        )
    return tables[chosen[0]]
