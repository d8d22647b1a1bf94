"""Pyramids: maps of one stride to maps of four."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from maetool.annotations import Count
from maetool.errors import UsageError
from maetool.layers import LayerNorm2d, find_layers
from maetool.registry import MODELS

SCALES = (4.0, 2.0, 1.0, 0.5)


def _halve() -> nn.Module:
    # A map of odd sides keeps its last row and column.
    return nn.MaxPool2d(kernel_size=2, stride=2, ceil_mode=True)


def strides_of(patch_size: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the pixels (rows, columns) that a place of each of the four maps covers, the finest first.

    Args:
        patch_size: rows and columns of a patch of the encoder, in pixels.

    Raises:
        UsageError: patches that cannot be halved twice.
    """
    if any(side % 4 for side in patch_size):
        raise UsageError(
            f"The encoder has patches of {tuple(patch_size)} pixels, but a pyramid halves them twice: use multiples "
            "of 4."
        )
    return [tuple(int(side / scale) for side in patch_size) for scale in SCALES]


@MODELS.register_module()
class SimpleFeaturePyramid(nn.Module):
    """The last map of an encoder at 4, 2, 1 and 1/2 of its resolution, each projected to the same width.

    Source: Li et al., "Exploring plain vision transformer backbones for object detection" (2022), section 3;
    `SimpleFeaturePyramid` of facebookresearch/detectron2 (`modeling/backbone/vit.py`).

    Args:
        embed_dim: D of the encoder.
        out_channels: C of the maps.

    Attributes:
        layers: of the encoder, that `forward` takes.
        channels: of each of the four maps.
    """

    layers = (-1,)

    def __init__(self, embed_dim: Count, out_channels: int = 256) -> None:
        super().__init__()
        half, quarter = embed_dim // 2, embed_dim // 4
        self.channels = [out_channels] * len(SCALES)
        up2 = nn.ConvTranspose2d(embed_dim, half, 2, 2)
        begin = [nn.ConvTranspose2d(embed_dim, half, 2, 2), LayerNorm2d(half), nn.GELU()]
        up4 = nn.Sequential(*begin, nn.ConvTranspose2d(half, quarter, 2, 2))
        self.rescale = nn.ModuleList([up4, up2, nn.Identity(), _halve()])
        widths = (quarter, half, embed_dim, embed_dim)
        self.project = nn.ModuleList(_projection(width, out_channels) for width in widths)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return four maps (B, C, rows, columns), the finest first, of one map (B, D, h, w)."""
        (last,) = maps
        stages = zip(self.rescale, self.project, strict=True)
        return [project(rescale(last)) for rescale, project in stages]


def _projection(width: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, out_channels, 1, bias=False),
        LayerNorm2d(out_channels),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        LayerNorm2d(out_channels),
    )


@MODELS.register_module()
class LayerPyramid(nn.Module):
    """Four layers of an encoder, the first one at 4 times its resolution, then 2, 1 and 1/2.

    Source: BEiT's segmentation (microsoft/unilm), section 2.2 of the paper; `Feature2Pyramid` of mmsegmentation.

    Args:
        embed_dim: D of the encoder.
        num_layers: blocks of the encoder.
        layers: four of them, see `maetool.layers.run_blocks`; None, at each quarter of the depth.

    Attributes:
        layers: of the encoder, that `forward` takes.
        channels: of each of the four maps.

    Raises:
        UsageError: not four layers, or one that there is not.
    """

    def __init__(self, embed_dim: Count, num_layers: int, layers: Sequence[int] | None = None) -> None:
        super().__init__()
        if layers is None:
            layers = [max(1, round(num_layers * quarter / 4)) for quarter in range(1, 5)]
        if len(layers) != len(SCALES):
            raise UsageError(f"layers is {list(layers)}, but a pyramid is made of {len(SCALES)}: name so many.")
        self.layers, self.channels = find_layers(layers, num_layers), [embed_dim] * len(SCALES)
        begin = [nn.ConvTranspose2d(embed_dim, embed_dim, 2, 2), nn.BatchNorm2d(embed_dim), nn.GELU()]
        up4 = nn.Sequential(*begin, nn.ConvTranspose2d(embed_dim, embed_dim, 2, 2))
        up2 = nn.ConvTranspose2d(embed_dim, embed_dim, 2, 2)
        self.rescale = nn.ModuleList([up4, up2, nn.Identity(), _halve()])

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        layers = arguments["layers"]
        return {} if layers is None else {"layers": [min(layer, 2) for layer in layers]}

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return four maps (B, D, rows, columns), the finest first, of four maps (B, D, h, w)."""
        return [rescale(x) for rescale, x in zip(self.rescale, maps, strict=True)]


@MODELS.register_module()
class LastMap(nn.Module):
    """No pyramid: the normalised last tokens of an encoder as one map, which a probe reads.

    Args:
        embed_dim: D of the encoder.

    Attributes:
        layers: None, the last tokens.
        channels: of the map, in a list.
    """

    layers = None

    def __init__(self, embed_dim: Count) -> None:
        super().__init__()
        self.channels = [embed_dim]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the one map of `maps`, (B, D, h, w), as it is, in a list."""
        return list(maps)
