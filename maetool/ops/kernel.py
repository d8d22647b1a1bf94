"""The kernel of a patch embedding, made to fit other patches or other channels."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional


def resize_kernel(kernel: Tensor, size: Sequence[int]) -> Tensor:
    """Return a kernel (D, C, ph, pw) for patches of another `size` (ph', pw'), as (D, C, ph', pw').

    A patch that is enlarged bicubically gets the token that it had before; for smaller patches this holds as well as it
    can. Source: FlexiViT (Beyer et al., 2023), section 3.4, the pseudo-inverse resize.
    """
    old = kernel.shape[2:]
    pixels = torch.eye(prod(old)).view(-1, 1, *old)
    resized = functional.interpolate(pixels, size=tuple(size), mode="bicubic", antialias=True)  # of each pixel
    to_new = torch.linalg.pinv(resized.flatten(1))  # (ph' * pw', ph * pw)
    return (kernel.float().flatten(2) @ to_new.T).unflatten(2, tuple(size)).to(kernel.dtype)


def adapt_channels(kernel: Tensor, in_chans: int) -> Tensor:
    """Return a kernel (D, C, ph, pw) for images of another number of channels, as (D, C', ph, pw).

    One channel gets the sum of all, so that a grey picture gives the token that it had with its channel repeated. More
    channels repeat those there are in turn, scaled by C / C'. Both are timm's convention for pretrained weights.

    Args:
        kernel: the weight of a patch embedding, (D, C, ph, pw).
        in_chans: C', the channels of the new images.
    """
    channels = kernel.shape[1]
    if in_chans == 1:
        return kernel.sum(dim=1, keepdim=True)
    repeats = -(-in_chans // channels)
    return kernel.repeat(1, repeats, 1, 1)[:, :in_chans] * (channels / in_chans)
