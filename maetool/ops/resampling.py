"""Bicubic resizing and changes of colour of a batch, every image by its own numbers, without a loop over images.

On an accelerator nothing is waited for: the numbers of an image are tensors, and all shapes are fixed.
"""

from contextlib import nullcontext

import torch
from torch import Tensor

_CHUNK = 64  # images at once: their pixels as float32 are the largest values
_SHARPNESS = -0.5  # the constant of Keys' cubic that Pillow and PyTorch take with antialiasing
_GREY = (0.2989, 0.587, 0.114)  # of torchvision's grey
_SCALE = 256 - 1e-3  # of torchvision's conversion from [0, 1] to whole numbers


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
    """Return images whose brightness, contrast, saturation and hue are changed, as torchvision's `ColorJitter` does.

    Args:
        images: float32 (B, C, H, W), whole numbers from 0 to 255; C is 1 or 3, red, green and blue.
        order: int64 (B, N), what is changed first: 0 brightness, 1 contrast, 2 saturation, 3 hue, else nothing.
        factors: float32 (B, 3) or, with the hue, (B, 4), of each; 1 changes nothing, of the hue 0.
    """
    last = 3 if images.shape[1] == 3 else 1  # greys have neither saturation nor hue
    for what in order.unbind(1):
        kind = what[:, None, None, None]
        factor = factors.gather(1, what.clamp(max=factors.shape[1] - 1)[:, None])[..., None, None]
        grey = _grey(images)  # (B, 1, H, W)
        mean = grey.mean(dim=(1, 2, 3), keepdim=True)
        other = torch.where(kind == 1, mean, torch.where(kind == 2, grey, 0.0))
        blended = (images * factor + other * (1 - factor)).clamp_(0, 255).floor_()
        turned = _turned(images, factor) if factors.shape[1] > last == 3 else images
        images = torch.where(kind > last, images, torch.where(kind == 3, turned, blended))
    return images


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    red, green, blue = (channel * share for channel, share in zip(images.split(1, dim=1), _GREY, strict=True))
    return (red + green + blue).floor_()


def _turned(images: Tensor, shares: Tensor) -> Tensor:
    """Return images (B, 3, H, W) whose hues are turned by shares of a circle, (B, 1, 1, 1)."""
    red, green, blue = (images / 255).split(1, dim=1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    # The hue in sixths of a circle; of greys, which have none, any number does, because their chroma is 0.
    divisor = torch.where(chroma == 0, 1.0, chroma)
    of_green, of_blue = (blue - red) / divisor + 2, (red - green) / divisor + 4
    hue = torch.where(value == red, (green - blue) / divisor, torch.where(value == green, of_green, of_blue))
    first = 5 - 2 * torch.arange(3, device=images.device).view(1, 3, 1, 1)  # where red, green and blue begin to fall
    places = (first + hue + 6 * shares).remainder(6)
    turned = value - chroma * torch.minimum(places, 4 - places).clamp(0, 1)
    return (turned * _SCALE).floor_().clamp_(0, 255)
