"""Building blocks that several parts share. The only file that imports timm's internals."""

from collections.abc import Sequence
from functools import partial

from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from maetool.errors import UsageError
from maetool.ops.patches import take_patches

# PyTorch's default of 1e-5 is wrong for every model of this family.
LayerNorm = partial(nn.LayerNorm, eps=1e-6)


class PatchEmbed(nn.Module):
    """Patches to tokens by one linear map, stored as the convolution `proj` as in timm.

    Args:
        patch_size: pixels of a patch along each axis.
        in_chans: C.
        embed_dim: D.
    """

    def __init__(self, patch_size: Sequence[int], in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.patch_size = tuple(patch_size)
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=self.patch_size, stride=self.patch_size)

    def forward(self, images: Tensor, ids: Tensor | None = None) -> Tensor:
        """Embed all patches of images (B, C, H, W) as (B, L, D), or only the patches `ids` (B, N) as (B, N, D)."""
        if ids is None:
            return self.proj(images).flatten(2).transpose(1, 2)  # (B, L, D)
        patches = take_patches(images, self.patch_size, ids).flatten(2)  # (B, N, C * ph * pw)
        return functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)  # (B, N, D)


def transformer_blocks(
    embed_dim: int, depth: int, num_heads: int, mlp_ratio: float = 4.0, drop_path_rate: float = 0.0
) -> nn.ModuleList:
    """Return `depth` pre-norm ViT blocks of timm, their drop path rising linearly from 0 to `drop_path_rate`.

    Raises:
        UsageError: `embed_dim` is not a multiple of `num_heads`.
    """
    if embed_dim % num_heads:
        raise UsageError(f"embed_dim {embed_dim} does not divide into {num_heads} heads: take a multiple of num_heads.")
    rates = [drop_path_rate * i / max(1, depth - 1) for i in range(depth)]
    return nn.ModuleList(
        Block(embed_dim, num_heads, mlp_ratio, qkv_bias=True, drop_path=rate, norm_layer=LayerNorm) for rate in rates
    )


def init_as_mae(module: nn.Module) -> None:
    """Initialise as MAE does: linear layers xavier uniform with zero bias, tokens normal with deviation 0.02.

    The convolution of a patch embedding is xavier uniform on its flattened view and keeps torch's default bias.
    Source: `models_mae.py` of facebookresearch/mae.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, PatchEmbed):
            nn.init.xavier_uniform_(part.proj.weight.view(part.proj.out_channels, -1))
    for name, token in module.named_parameters(recurse=False):
        if name.endswith("_token"):
            nn.init.normal_(token, std=0.02)
