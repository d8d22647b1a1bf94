"""Noise and blur."""

from collections.abc import Sequence

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.random import KeyedRandom
from maetool.registry import CORRUPTIONS
from maetool.structures import MaskPlan

from .base import Corruption


def _check_range(name: str, values: Sequence[float], owner: str) -> tuple[float, float]:
    pair = tuple(values) if isinstance(values, Sequence) and not isinstance(values, str) else (values, values)
    if len(pair) != 2 or not all(isinstance(v, int | float) for v in pair) or not 0 <= pair[0] <= pair[1]:
        raise UsageError(f"{owner} got {name}={values!r}, but must get a range (low, high) of numbers from 0 on.")
    return pair[0], pair[1]


def _drawn(rng: KeyedRandom, limits: tuple[float, float]) -> Tensor:
    """Return a number (B,) of each sample, uniform in a range."""
    low, high = limits
    return low + (high - low) * rng.uniform(1)[:, 0]


@CORRUPTIONS.register_module()
class NoiseCorruption(Corruption):
    """Adds Gaussian noise to the pixels.

    Args:
        sigma: range of the noise's deviation, in the units of normalised images, from which each sample draws its own.

    Raises:
        UsageError: no range of numbers from 0 on.
    """

    def __init__(self, sigma: Sequence[float] = (0.25, 0.25)) -> None:
        super().__init__()
        self.sigma = _check_range("sigma", sigma, type(self).__name__)

    def forward(self, images: Tensor, plan: MaskPlan, rng: KeyedRandom) -> Tensor:
        """Return images (B, C, *size) with noise."""
        sigma = _drawn(rng, self.sigma).view(-1, *[1] * (images.ndim - 1))
        return images + (sigma * rng.normal(*images.shape[1:])).to(images.dtype)


@CORRUPTIONS.register_module()
class BlurCorruption(Corruption):
    """Blurs the images with a Gaussian; the encoder so learns to sharpen. The edges are mirrored.

    Source: Deblurring MAE (Kang et al., 2023) for ultrasound images.

    Args:
        sigma: range of the Gaussian's deviation in pixels, from which each sample draws its own.

    Raises:
        UsageError: no range of numbers from 0 on.
    """

    def __init__(self, sigma: Sequence[float] = (0.5, 1.5)) -> None:
        super().__init__()
        self.sigma = _check_range("sigma", sigma, type(self).__name__)

    def forward(self, images: Tensor, plan: MaskPlan, rng: KeyedRandom) -> Tensor:
        """Return blurred images (B, C, *size)."""
        sigma = _drawn(rng, self.sigma)
        for axis in range(2, images.ndim):
            images = _blur(images, sigma, axis)
        return images


def _blur(images: Tensor, sigma: Tensor, axis: int) -> Tensor:
    """Return images (B, C, *size) convolved along an axis with Gaussians of deviations (B,)."""
    side = images.shape[axis]
    place = torch.arange(side, device=images.device)
    # Each output cell weighs all cells of the axis, and what lies beyond an edge is the mirror image of what is inside.
    offsets = torch.stack([place[None] - place[:, None] + shift for shift in (0, -2 * side, 2 * side)])
    mirrored = torch.stack([place[None] + place[:, None] + 1 + shift for shift in (0, -2 * side)])
    distance = torch.cat([offsets, mirrored]).double()  # (5, side, side)
    spread = sigma.double().clamp(min=1e-6)[:, None, None, None]
    kernel = torch.exp(-0.5 * (distance / spread) ** 2).sum(dim=1)  # (B, side, side)
    kernel = (kernel / kernel.sum(dim=-1, keepdim=True)).to(images.dtype)
    moved = images.movedim(axis, -1)
    lines = moved.flatten(1, -2) @ kernel.transpose(1, 2)  # (B, lines, side)
    return lines.unflatten(1, moved.shape[1:-1]).movedim(-1, axis)
