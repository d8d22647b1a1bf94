"""Where the class token of an encoder looks."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maetool.errors import UsageError
from maetool.ops.prefix import has_class_token

from .features import bare
from .overlays import side_by_side
from .pictures import check_picture, enlarged, save_picture
from .reconstruction import displayable

_OPACITY = 0.6


@torch.no_grad()
def attention_maps(encoder: Any, images: Tensor, query: Literal["cls", "mean"] = "cls") -> Tensor:
    """Return how much the class token attends to each patch in the last block, (B, heads, h, w), each map of sum 1.

    Source: `visualize_attention.py` of facebookresearch/dino, without its threshold.

    Args:
        encoder: with the method `attention`, such as `VisionTransformer` and `TimmEncoder`, or the result of
            `maetool.load_encoder`. Attention is computed without the fused kernel in this call only.
        images: (B, C, H, W), normalised, see `maetool.load_encoder(...).normalise`.
        query: "cls", the class token; or "mean" of the patches, for encoders without one.

    Raises:
        UsageError: an encoder without `attention`, or without a class token, or another query.
    """
    encoder = bare(encoder)
    if query not in ("cls", "mean"):
        raise UsageError(f'query is {query!r}, but must be "cls" or "mean".')
    possible = queries_of(encoder)
    if not possible:
        raise UsageError(f"{type(encoder).__name__} gives no attention: use VisionTransformer or TimmEncoder.")
    if query not in possible:
        raise UsageError(f'{type(encoder).__name__} has no class token: pass query="mean", the mean of the patches.')
    prefix = encoder.num_prefix_tokens
    attention = encoder.attention(images)[..., prefix:]  # (B, heads, T + L, L)
    rows = attention[:, :, 0] if query == "cls" else attention[:, :, prefix:].mean(dim=2)  # (B, heads, L)
    rows = rows / rows.sum(dim=-1, keepdim=True)
    return rows.unflatten(2, tuple(encoder.grid_of(images)))


def queries_of(encoder: Any) -> tuple[Literal["cls", "mean"], ...]:
    """Return the queries of `attention_maps` that an encoder has, the best first; empty if it gives no attention."""
    encoder = bare(encoder)
    if not hasattr(encoder, "attention") or not hasattr(encoder, "num_prefix_tokens"):
        return ()
    return ("cls", "mean") if has_class_token(encoder) else ("mean",)


def draw_attention(images: Tensor, maps: Tensor, path: str | Path) -> None:
    """Write the picture of `attention_panel` to `path`; `images` and `maps` as there."""
    save_picture(attention_panel(images, maps), check_picture(path, "path"))


def attention_panel(images: Tensor, maps: Tensor, heads: int | None = None) -> np.ndarray:
    """Draw a row for each image: the image, the mean of the heads, and each head; uint8 RGB (rows, columns, 3).

    Args:
        images: as stored, (B, C, H, W), 0 to 255 for photographs.
        maps: (B, heads, h, w), see `attention_maps`.
        heads: draw only so many heads, the first ones; None draws all.
    """
    pictures = [enlarged(np.asarray(picture)) for picture in displayable(images.float(), images).numpy()]
    columns = {"image": pictures, "mean": _laid_over(pictures, maps.mean(dim=1))}
    drawn = range(maps.shape[1])[:heads]
    columns |= {f"head {number}": _laid_over(pictures, maps[:, number]) for number in drawn}
    return side_by_side(columns)


def _laid_over(pictures: list[np.ndarray], maps: Tensor) -> list[np.ndarray]:
    """Return pictures, uint8 (H, W, 3), that are dark where a map (B, h, w) is low; each map has its own scale."""
    drawn = []
    for picture, values in zip(pictures, maps.float().cpu(), strict=True):
        large = functional.interpolate(values[None, None], size=picture.shape[:2], mode="bilinear")[0, 0]
        share = (large / large.max().clamp(min=1e-12)).numpy()[..., None]  # 0 to 1
        drawn.append((picture * (1 - _OPACITY + _OPACITY * share)).round().astype(np.uint8))
    return drawn
