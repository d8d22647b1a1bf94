"""Bicubic resizing with antialiasing, the same result by torch and by Pillow."""

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from maetool.compat import cpu_resizes_uint8


def resize(image: Tensor, size: tuple[int, int], by_pillow: bool = False) -> Tensor:
    """Return an image (C, H, W), or a clip (C, T, H, W), at `size` (h, w), contiguous; uint8 stays uint8.

    Over random crops torch's result for uint8 differs from Pillow's by 0.03 grey levels in the mean.

    Args:
        image: uint8 or float32, of any strides.
        size: height and width in pixels.
        by_pillow: let Pillow do it, for results equal to torchvision's on Pillow images to the bit; also done where
            torch has no fast code for uint8 on this CPU. float32 images are always torch's.
    """
    if image.ndim > 3:
        return resize(image.flatten(0, -3), size, by_pillow).unflatten(0, image.shape[:-2])  # (C, T, h, w)
    if image.dtype == torch.uint8 and (by_pillow or not cpu_resizes_uint8()):
        return _by_pillow(image, size)
    if image.dtype == torch.uint8 and len(image) == 3 and image.stride(0) == 1:
        return _interleaved(image, size)
    return _by_torch(image[None], size)[0].contiguous()  # (C, h, w)


def _by_torch(images: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(images, size, mode="bicubic", antialias=True)


def _interleaved(image: Tensor, size: tuple[int, int]) -> Tensor:
    # What OpenCV decodes holds the colours of a pixel together. torch's fast code wants such an image compact, and then
    # takes 45 us of 160 to part the colours of the result (224 x 224), which OpenCV does in 10.
    compact = image[None].contiguous(memory_format=torch.channels_last)
    pixels = _by_torch(compact, size)[0].permute(1, 2, 0).numpy()
    planes = np.empty((3, *size), np.uint8)
    cv2.split(pixels, list(planes))
    return torch.from_numpy(planes)


def _by_pillow(image: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = size
    if len(image) == 3:
        picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
        pixels = np.array(picture.resize((width, height), Image.Resampling.BICUBIC))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    planes = [Image.fromarray(np.ascontiguousarray(plane.numpy())) for plane in image]
    resized = [np.array(plane.resize((width, height), Image.Resampling.BICUBIC)) for plane in planes]
    return torch.from_numpy(np.stack(resized))
