"""Building blocks that several parts share."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.attention import attention
from maetool.ops.linear import gelu_linear, linear, norm_linear
from maetool.ops.patches import take_patches, take_tokens

from .drop_path import DropPath

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
        return embed_patches(self.proj, images, ids)  # (B, N, D)


def embed_patches(proj: nn.Conv2d, images: Tensor, ids: Tensor) -> Tensor:
    """Return the tokens (B, N, D) that a convolution, its kernel being its stride, gives the patches `ids` (B, N)."""
    patches = take_patches(images, proj.kernel_size, ids).flatten(2)  # (B, N, C * ph * pw)
    return linear(patches, proj.weight.flatten(1), proj.bias)


class Linear(nn.Linear):
    """A linear map, float32 on a CPU by oneDNN; see `maetool.ops.linear`."""

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Map x (..., I), normalised by `norm` where there is one, to (..., O)."""
        if norm is not None:
            return norm_linear(x, norm, self.weight, self.bias)
        return linear(x, self.weight, self.bias)


class GeluLinear(nn.Linear):
    """GELU and then a linear map, keeping one tensor for the backward pass instead of two."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., I) to (..., O)."""
        return gelu_linear(x, self.weight, self.bias)


class Attention(nn.Module):
    """Multi-head attention with one map `qkv` for queries, keys and values, named as in timm.

    Args:
        embed_dim: D.
        num_heads: heads, each of D / num_heads channels.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(embed_dim, 3 * embed_dim)
        self.proj = Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, queries: Tensor | None = None, norm: nn.Module | None = None) -> Tensor:
        """Return what the queries (B, M, D) find among x (B, N, D), as (B, M, D).

        Without queries, x asks itself, normalised by `norm` where there is one.
        """
        if queries is None:
            q, k, v = self._heads(self.qkv(x, norm), 3)
        else:
            (to_q, to_kv), (q_bias, kv_bias) = (p.tensor_split([x.shape[2]]) for p in (self.qkv.weight, self.qkv.bias))
            (q,) = self._heads(linear(queries, to_q, q_bias), 1)
            k, v = self._heads(linear(x, to_kv, kv_bias), 2)
        return self.proj(attention(q, k, v).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor, number: int) -> tuple[Tensor, ...]:
        """Split (B, N, number * D) into `number` tensors (B, heads, N, d)."""
        return x.unflatten(2, (number, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


class Mlp(nn.Module):
    """Two linear maps with a GELU between them, named as in timm.

    Args:
        embed_dim: D.
        hidden_dim: width between the maps.
    """

    def __init__(self, embed_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = Linear(embed_dim, hidden_dim)
        self.fc2 = GeluLinear(hidden_dim, embed_dim)

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Map x (..., D), normalised by `norm` where there is one, to (..., D)."""
        return self.fc2(self.fc1(x, norm))


class LayerScale(nn.Module):
    """A learned factor for each channel, named as in timm.

    Source: Touvron et al., "Going deeper with image transformers" (2021).

    Args:
        embed_dim: D.
        start: of all factors.
    """

    def __init__(self, embed_dim: int, start: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((embed_dim,), start))

    def forward(self, x: Tensor) -> Tensor:
        """Scale x (..., D)."""
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block with timm's names, which can compute only the tokens that somebody asks for.

    Args:
        embed_dim: D.
        num_heads: attention heads.
        mlp_ratio: width of the hidden layer over D.
        drop_path: share of the samples for which a branch is left out in training.
        layer_scale: where the factors of the two branches' channels begin; None, there are none.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        scales = [nn.Identity() if layer_scale is None else LayerScale(embed_dim, layer_scale) for _ in range(2)]
        self.ls1, self.ls2 = scales
        self.norm1, self.norm2 = LayerNorm(embed_dim), LayerNorm(embed_dim)
        self.attn = Attention(embed_dim, num_heads)
        self.mlp = Mlp(embed_dim, int(embed_dim * mlp_ratio))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, ids: Tensor | None = None) -> Tensor:
        """Return tokens (B, N, D) of x (B, N, D), or only those at `ids` (B, M) as (B, M, D): equal values, less work.

        All tokens give keys and values; queries, projection and hidden layer are computed for the returned ones.
        """
        if ids is None:
            found = self.attn(x, norm=self.norm1)
        else:
            normed = self.norm1(x)
            x, found = take_tokens(x, ids), self.attn(normed, take_tokens(normed, ids))
        x = x + self.drop_path(self.ls1(found))
        return x + self.drop_path(self.ls2(self.mlp(x, self.norm2)))


def transformer_blocks(
    embed_dim: int,
    depth: int,
    num_heads: int,
    mlp_ratio: float = 4.0,
    drop_path_rate: float = 0.0,
    layer_scale: float | None = None,
) -> nn.ModuleList:
    """Return `depth` pre-norm ViT blocks, their drop path rising linearly from 0 to `drop_path_rate`.

    Raises:
        UsageError: `embed_dim` is not a multiple of `num_heads`.
    """
    check_heads(embed_dim, num_heads)
    rates = [drop_path_rate * i / max(1, depth - 1) for i in range(depth)]
    return nn.ModuleList(Block(embed_dim, num_heads, mlp_ratio, rate, layer_scale) for rate in rates)


def check_heads(embed_dim: int, num_heads: int) -> None:
    """Check that a width divides into heads.

    Raises:
        UsageError: it does not.
    """
    if embed_dim % num_heads:
        raise UsageError(f"embed_dim {embed_dim} does not divide into {num_heads} heads: take a multiple of num_heads.")


def run_blocks(
    blocks: Sequence[Callable[[Tensor], Tensor]], x: Tensor, norm: nn.Module, layers: Sequence[int] | None = None
) -> Tensor | list[Tensor]:
    """Return the normalised tokens of the last block, or a list of the raw tokens of some `layers`.

    Layer 0 is what enters the first block, layer i what leaves the i-th, and -1 what leaves the last.

    Args:
        blocks: from tokens (B, N, D) to tokens (B, N, D).
        x: (B, N, D).
        norm: what the last tokens pass; not those of `layers`.
        layers: which ones; may repeat.
    """
    if layers is None:
        for block in blocks:
            x = block(x)  # (B, N, D)
        return norm(x)
    numbers = find_layers(layers, len(blocks))
    found = {0: x}
    for number, block in enumerate(list(blocks)[: max(numbers)], start=1):
        x = block(x)  # (B, N, D)
        if number in numbers:
            found[number] = x
    return [found[number] for number in numbers]


def run_blocks_at(blocks: nn.ModuleList, x: Tensor, ids: Tensor) -> Tensor:
    """Return the tokens `ids` (B, M) of x (B, N, D) after all blocks, (B, M, D); the last one computes only those."""
    for block in blocks[:-1]:
        x = block(x)
    return blocks[-1](x, ids) if len(blocks) else take_tokens(x, ids)


def find_layers(layers: Sequence[int], num_layers: int) -> list[int]:
    """Return the numbers of `layers`, counted from 0 (what enters the first block) to `num_layers`.

    Raises:
        UsageError: no layer, one that there is not, or an encoder without any that could be read.
    """
    if not num_layers and list(layers) != [0]:
        raise UsageError(
            f"layers is {list(layers)}, but this encoder gives its last tokens only: take a plain ViT (Vision"
            "Transformer or TimmEncoder), or a decoder that reads the last tokens."
        )
    wrong = [layer for layer in layers if type(layer) is not int or not -num_layers - 1 <= layer <= num_layers]
    if wrong or not layers:
        raise UsageError(
            f"layers is {list(layers)}, but an encoder of {num_layers} blocks has the layers 0 (what enters the first "
            f"block) to {num_layers} (-1, what leaves the last): name some of them."
        )
    return [layer % (num_layers + 1) for layer in layers]


def init_as_mae(module: nn.Module) -> None:
    """Initialise as MAE does: linear layers xavier uniform with zero bias, tokens normal with deviation 0.02.

    The convolution of a patch embedding is xavier uniform on its flattened view and keeps torch's default bias.
    Source: `models_mae.py` of facebookresearch/mae.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, PatchEmbed):
            nn.init.xavier_uniform_(part.proj.weight.view(part.proj.out_channels, -1))
    for name, token in module.named_parameters(recurse=False):
        if name.endswith("_token"):
            nn.init.normal_(token, std=0.02)
