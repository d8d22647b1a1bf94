"""Where the class token of an encoder looks."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maetool.errors import UsageError

from .overlays import side_by_side
from .pictures import check_picture, save_picture
from .reconstruction import displayable

_OPACITY = 0.6


@torch.no_grad()
def attention_maps(encoder: Any, images: Tensor, query: Literal["cls", "mean"] = "cls") -> Tensor:
    """Return how much the class token attends to each patch in the last block, (B, heads, h, w), each map of sum 1.

    Source: `visualize_attention.py` of facebookresearch/dino, without its threshold.

    Args:
        encoder: with the method `attention`, such as `VisionTransformer` and `TimmEncoder`.
        images: (B, C, H, W), normalised, see `maetool.load_encoder(...).normalise`.
        query: "cls", the class token; or "mean" of the patches, for encoders without one.

    Raises:
        UsageError: an encoder without `attention`, or without a class token, or another query.
    """
    if query not in ("cls", "mean"):
        raise UsageError(f'query is {query!r}, but must be "cls" or "mean".')
    if not hasattr(encoder, "attention") or not hasattr(encoder, "num_prefix_tokens"):
        raise UsageError(f"{type(encoder).__name__} gives no attention: use VisionTransformer or TimmEncoder.")
    prefix = encoder.num_prefix_tokens
    if (
        query == "cls"
        and getattr(encoder, "cls_token", getattr(getattr(encoder, "vit", None), "cls_token", None)) is None
    ):
        raise UsageError(f'{type(encoder).__name__} has no class token: pass query="mean", the mean of the patches.')
    attention = encoder.attention(images)[..., prefix:]  # (B, heads, T + L, L)
    rows = attention[:, :, 0] if query == "cls" else attention[:, :, prefix:].mean(dim=2)  # (B, heads, L)
    rows = rows / rows.sum(dim=-1, keepdim=True)
    return rows.unflatten(2, tuple(encoder.grid_of(images)))


def draw_attention(images: Tensor, maps: Tensor, path: str | Path) -> None:
    """Write a picture with a row for each image: the image, the mean of the heads, and each head.

    Args:
        images: as stored, (B, C, H, W), 0 to 255 for photographs.
        maps: (B, heads, h, w), see `attention_maps`.
        path: of the picture.
    """
    pictures = [np.asarray(picture) for picture in displayable(images.float(), images).numpy()]
    columns = {"image": pictures, "mean": _laid_over(pictures, maps.mean(dim=1))}
    columns |= {f"head {number}": _laid_over(pictures, maps[:, number]) for number in range(maps.shape[1])}
    save_picture(side_by_side(columns), check_picture(path, "path"))


def _laid_over(pictures: list[np.ndarray], maps: Tensor) -> list[np.ndarray]:
    """Return pictures, uint8 (H, W, 3), that are dark where a map (B, h, w) is low; each map has its own scale."""
    drawn = []
    for picture, values in zip(pictures, maps.float().cpu(), strict=True):
        large = functional.interpolate(values[None, None], size=picture.shape[:2], mode="bilinear")[0, 0]
        share = (large / large.max().clamp(min=1e-12)).numpy()[..., None]  # 0 to 1
        drawn.append((picture * (1 - _OPACITY + _OPACITY * share)).round().astype(np.uint8))
    return drawn
