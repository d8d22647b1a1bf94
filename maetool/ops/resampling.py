"""Bicubic resizing and changes of colour of a batch, every image by its own numbers, without a loop over images.

On an accelerator nothing is waited for: the numbers of an image are tensors, and all shapes are fixed.
"""

from contextlib import nullcontext

import torch
from torch import Tensor

_CHUNK = 64  # images at once: their pixels as float32 are the largest values
_SHARPNESS = -0.5  # the constant of Keys' cubic that Pillow and PyTorch take with antialiasing
_GREY = (0.2989, 0.587, 0.114)  # of torchvision's grey


def resampled(pixels: Tensor, extents: Tensor, mirrored: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the upper left parts of images resized as `interpolate(mode="bicubic", antialias=True)` does.

    Values are rounded after the rows and after the columns, as PyTorch's code for uint8 does.

    Args:
        pixels: uint8 (B, C, H, W), of which the rest is not looked at.
        extents: int64 (B, 2), rows and columns of each part, from 1.
        mirrored: bool (B,), which are turned left to right.
        size: (h, w) in pixels.

    Returns:
        float32 (B, C, h, w), whole numbers from 0 to 255.
    """
    parts = zip(pixels.split(_CHUNK), extents.split(_CHUNK), mirrored.split(_CHUNK), strict=True)
    return torch.cat([_resampled(*part, size) for part in parts])


def _resampled(pixels: Tensor, extents: Tensor, mirrored: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = pixels.shape[2:]
    across = bicubic_weights(extents[:, 1], size[1], width)  # (B, w, W)
    across = torch.where(mirrored[:, None, None], across.flip(1), across)
    down = bicubic_weights(extents[:, 0], size[0], height)  # (B, h, H)
    kind = pixels.device.type  # autocast knows all but "meta"
    with nullcontext() if pixels.is_meta else torch.autocast(kind, enabled=False):
        rows = _whole(pixels.float() @ across[:, None].transpose(2, 3))  # (B, C, H, w)
        return _whole(down[:, None] @ rows)


def bicubic_weights(lengths: Tensor, size: int, longest: int) -> Tensor:
    """Return how much each pixel counts in each pixel of a resized line, float32 (B, size, longest).

    Args:
        lengths: int64 (B,), pixels of each line, from 1 to `longest`.
        size: pixels of the resized line.
        longest: places for pixels; those from a line's length on count 0.
    """
    scale = lengths[:, None].float() / size  # (B, 1)
    centre = (torch.arange(size, device=lengths.device) + 0.5) * scale  # (B, size)
    place = torch.arange(longest, device=lengths.device)
    distance = (place + 0.5 - centre[..., None]).abs() / scale.clamp(min=1.0)[..., None]
    weights = torch.where(place < lengths[:, None, None], _cubic(distance), 0.0)
    return weights / weights.sum(dim=2, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    """Return Keys' cubic of distances from 0 on."""
    a = _SHARPNESS
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _whole(values: Tensor) -> Tensor:
    return (values + 0.5).floor_().clamp_(0, 255)


def recoloured(images: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """Return images whose brightness, contrast and saturation are changed, as torchvision's `ColorJitter` does.

    Args:
        images: float32 (B, 3, H, W), whole numbers from 0 to 255.
        order: int64 (B, N), what is changed first: 0 brightness, 1 contrast, 2 saturation, anything else nothing.
        factors: float32 (B, 3), of each; 1 changes nothing.
    """
    for what in order.unbind(1):
        kind, factor = what[:, None, None, None], factors.gather(1, what.clamp(max=2)[:, None])[..., None, None]
        red, green, blue = (channel * share for channel, share in zip(images.split(1, dim=1), _GREY, strict=True))
        grey = (red + green + blue).floor_()  # (B, 1, H, W)
        mean = grey.mean(dim=(1, 2, 3), keepdim=True)
        other = torch.where(kind == 1, mean, torch.where(kind == 2, grey, 0.0))
        blended = (images * factor + other * (1 - factor)).clamp_(0, 255).floor_()
        images = torch.where(kind > 2, images, blended)
    return images
