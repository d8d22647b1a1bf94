"""Erasing and mixing of a batch at once: on an accelerator a loop over samples would launch many small kernels."""

from math import log
from typing import Any

import numpy as np
import torch
from timm.data.mixup import Mixup, cutmix_bbox_and_lam
from torch import Tensor

from maetool.ops.masking import rectangles
from maetool.ops.random import KeyedRandom

_AREA, _ASPECT, _ATTEMPTS = (0.02, 1 / 3), (0.3, 1 / 0.3), 10  # of timm's RandomErasing


def erased(images: Tensor, keys: Tensor, share: float) -> Tensor:
    """Return images in which a rectangle of some is replaced by standard normal noise, per pixel.

    Rectangles are distributed as those of timm's `RandomErasing`; the draws are a function of the keys.

    Args:
        images: (B, C, H, W).
        keys: int64 (B,).
        share: probability that an image is changed.
    """
    rng, (height, width) = KeyedRandom(keys), images.shape[2:]
    changed = rng.uniform(1)[:, 0] < share  # (B,)
    area, aspect, down, right = rng.uniform(4, _ATTEMPTS).double().unbind(1)  # each (B, attempts)
    area = (_AREA[0] + (_AREA[1] - _AREA[0]) * area) * height * width
    aspect = (log(_ASPECT[0]) + (log(_ASPECT[1]) - log(_ASPECT[0])) * aspect).exp()
    rows, columns = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    fits = (rows < height) & (columns < width)
    first = fits.int().argmax(dim=1, keepdim=True)  # of no rectangle that fits, the first, which is left out
    rows, columns, down, right = (value.gather(1, first)[:, 0] for value in (rows, columns, down, right))
    top, left = (down * (height - rows + 1)).long(), (right * (width - columns + 1)).long()
    inside = rectangles(top, left, rows, columns, (height, width)) & (changed & fits.any(dim=1))[:, None, None]
    noise = rng.normal(*images.shape[1:]).to(images.dtype)
    return torch.where(inside[:, None], noise, images)


def mixed(mixer: Mixup, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return images that are mixed as `mixer` does, with its draws, and the share that each keeps of itself, (B,).

    Args:
        mixer: timm's; it draws from NumPy's generator.
        images: (B, C, H, W); each is mixed with the one at the same place from the end.
    """
    shares, boxes = _draws(mixer, images.shape)
    own = torch.from_numpy(shares.astype(np.float32)).to(images.device, non_blocking=True)  # (B,)
    top, bottom, left, right = torch.from_numpy(boxes).to(images.device, non_blocking=True).unbind(1)
    pasted = rectangles(top, left, bottom - top, right - left, tuple(images.shape[2:]))  # bool (B, H, W)
    blended = torch.where((right > left) & (bottom > top), 1.0, own)[:, None, None, None]
    others = images.flip(0)
    return torch.where(pasted[:, None], others, images * blended + others * (1 - blended)), own


def _draws(mixer: Any, shape: torch.Size) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of each image that is its own, (B,), and the box that is pasted, int64 (B, 4), or empty."""
    batch = shape[0]
    number = {"elem": batch, "pair": batch // 2}.get(mixer.mode, 1)
    if mixer.mode == "batch":
        share, cuts = mixer._params_per_batch()
        shares, cut = np.array([share], dtype=np.float64), [cuts]
    else:
        shares, cut = mixer._params_per_elem(number)
        shares = shares.astype(np.float64)
    boxes = np.zeros((number, 4), dtype=np.int64)
    for i in range(number):
        if cut[i] and shares[i] != 1:
            boxes[i], shares[i] = cutmix_bbox_and_lam(
                shape, shares[i], ratio_minmax=mixer.cutmix_minmax, correct_lam=mixer.correct_lam
            )
    if mixer.mode == "pair":
        return np.concatenate([shares, shares[::-1]]), np.concatenate([boxes, boxes[::-1]])
    return np.resize(shares, batch), np.resize(boxes, (batch, 4))
