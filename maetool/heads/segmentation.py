"""Heads that tell the class of every place of a map."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.errors import UsageError
from maetool.messages import plural
from maetool.registry import MODELS


def resize_map(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps `x` (B, C, h, w) resized bilinearly to `size`, (height, width)."""
    return functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _conv(channels: int, width: int, side: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, side, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _classifier(channels: int, num_classes: int) -> nn.Conv2d:
    conv = nn.Conv2d(channels, num_classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.get_parameter("bias"))
    return conv


def _check_level(level: int, channels: Sequence[int]) -> int:
    if not -len(channels) <= level < len(channels):
        raise UsageError(f"level is {level}, but the head is given {plural(len(channels), 'map')}, counted from 0.")
    return level


@MODELS.register_module()
class UPerHead(nn.Module):
    """Pools the coarsest of several maps at four sizes, passes it down to the finer ones, and classifies all together.

    Source: Xiao et al., "Unified perceptual parsing for scene understanding" (2018); as `UPerHead` of mmsegmentation.

    Args:
        channels: of each map, the finest first.
        num_classes: K.
        width: channels inside.
        pool_scales: cells along each axis that the coarsest map is pooled to.
        dropout: share of the channels that training leaves out in front of the classifier.
    """

    debug_arguments: ClassVar = {"width": 8}

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        width: int = 512,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        *finer, last = channels
        self.pools = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(s), _conv(last, width, 1)) for s in pool_scales)
        self.pooled = _conv(last + len(pool_scales) * width, width, 3)
        self.lateral = nn.ModuleList(_conv(number, width, 1) for number in finer)
        self.smooth = nn.ModuleList(_conv(width, width, 3) for _ in finer)
        self.fuse = _conv(len(channels) * width, width, 3)
        self.dropout, self.classify = nn.Dropout2d(dropout), _classifier(width, num_classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return logits (B, K, h, w) at the size of the first of the maps (B, C, h, w)."""
        *finer, last = maps
        pools = [resize_map(pool(last), last.shape[2:]) for pool in self.pools]
        levels = [self.pooled(torch.cat([last, *pools], dim=1))]  # (B, width, h, w), the coarsest first
        for x, lateral in zip(reversed(finer), reversed(self.lateral), strict=True):
            levels.append(lateral(x) + resize_map(levels[-1], x.shape[2:]))
        coarsest, *rest = levels
        smoothed = [smooth(x) for smooth, x in zip(self.smooth, reversed(rest), strict=True)]
        size = maps[0].shape[2:]
        fused = self.fuse(torch.cat([resize_map(x, size) for x in [*smoothed, coarsest]], dim=1))
        return self.classify(self.dropout(fused))


@MODELS.register_module()
class FCNHead(nn.Module):
    """Some convolutions on one map, and a classifier: the auxiliary head of UPerNet.

    Source: Long et al., "Fully convolutional networks for semantic segmentation" (2015).

    Args:
        channels: of each map.
        num_classes: K.
        level: which map.
        width: channels inside.
        num_convs: convolutions of 3 x 3.
        dropout: share of the channels that training leaves out in front of the classifier.

    Raises:
        UsageError: a map that there is not.
    """

    debug_arguments: ClassVar = {"width": 8}

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        level: int = 2,
        width: int = 256,
        num_convs: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.level = _check_level(level, channels)
        widths = [channels[level], *[width] * num_convs]
        self.convs = nn.Sequential(*(_conv(a, b, 3) for a, b in pairwise(widths)))
        self.dropout, self.classify = nn.Dropout2d(dropout), _classifier(widths[-1], num_classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, K, h, w) of the map of its `level`.

        Args:
            maps: (B, C, h, w) of each stride, the finest first.
        """
        return self.classify(self.dropout(self.convs(maps[self.level])))


@MODELS.register_module()
class LinearMapHead(nn.Module):
    """A linear classifier of each place of one map, its features standardised over the batch: for probing.

    Args:
        channels: of each map.
        num_classes: K.
        level: which map.

    Raises:
        UsageError: a map that there is not.
    """

    def __init__(self, channels: Sequence[int], num_classes: int, level: int = -1) -> None:
        super().__init__()
        self.level = _check_level(level, channels)
        self.norm = nn.BatchNorm2d(channels[level], affine=False)
        self.classify = _classifier(channels[level], num_classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, K, h, w) of the map of its `level`.

        Args:
            maps: (B, C, h, w) of each stride, the finest first.
        """
        return self.classify(self.norm(maps[self.level]))
