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


def strides_of_maps(encoder: Any, layers: Any) -> list[tuple[int, ...]]:
    """Return the pixels (rows, columns) that a place of each of the four maps of a pyramid covers, the finest first.

    Args:
        encoder: that the pyramid is on.
        layers: what the pyramid reads of it, its `layers`.

    Raises:
        UsageError: see `strides_of`.
    """
    if layers != "stages":
        return strides_of(encoder.patch_size)
    strides = [tuple(stride) for stride in encoder.stage_strides[: len(SCALES)]]
    while len(strides) < len(SCALES):
        strides.append(tuple(2 * side for side in strides[-1]))
    return strides


class _Stages(nn.Module):
    """Base of the pyramids of the stages of a hierarchical encoder; three are made four by halving the last."""

    layers = "stages"

    def __init__(self, stage_dims: Sequence[int] | None) -> None:
        super().__init__()
        if stage_dims is None or len(stage_dims) not in (len(SCALES) - 1, len(SCALES)):
            raise UsageError(
                f"{type(self).__name__} is made of three or four stages of an encoder, but this one has "
                f"{len(stage_dims or ()) or 'none'}: use a hierarchical one such as HybridTransformer, or a pyramid of "
                "layers, LayerPyramid or SimpleFeaturePyramid."
            )
        self.widths = [*stage_dims, *stage_dims[-1:]][: len(SCALES)]
        self.halves = len(stage_dims) < len(SCALES)


@MODELS.register_module()
class StagePyramid(_Stages):
    """What leaves the stages of a hierarchical encoder, as four maps of their own widths.

    Where there are three, a convolution of every second place makes the fourth. Source: ConvMAE's segmentation
    (Alpha-VL/ConvMAE, `SEG/backbone/convmae.py`), whose convolution leaves out the border.

    Args:
        stage_dims: channels of each stage, of which there are three or four.

    Attributes:
        layers: "stages".
        channels: of each of the four maps.

    Raises:
        UsageError: another number of stages.
    """

    def __init__(self, stage_dims: Sequence[int] | None = None) -> None:
        super().__init__(stage_dims)
        self.channels, width = self.widths, self.widths[-1]
        steps = [nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.GELU()]
        self.halve = nn.Sequential(*steps) if self.halves else None

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return four maps (B, C, rows, columns), the finest first, of those of the stages."""
        return list(maps) if self.halve is None else [*maps, self.halve(maps[-1])]


@MODELS.register_module()
class StageFPN(_Stages):
    """A feature pyramid network on the stages of a hierarchical encoder: four maps of one width.

    Where there are three stages, pooling makes the fourth map. Source: Lin et al., "Feature pyramid networks for object
    detection" (2017), as in torchvision, with layer norms; ConvMAE's detection (Alpha-VL/ConvMAE,
    `DET/models/convmae.py`), with batch norms over all processes.

    Args:
        stage_dims: channels of each stage, of which there are three or four.
        out_channels: C of the maps.

    Attributes:
        layers: "stages".
        channels: of each of the four maps.

    Raises:
        UsageError: another number of stages.
    """

    def __init__(self, stage_dims: Sequence[int] | None = None, out_channels: int = 256) -> None:
        from torchvision.ops import FeaturePyramidNetwork  # takes a second, and few models have one

        super().__init__(stage_dims)
        self.channels = [out_channels] * len(SCALES)
        self.fpn = FeaturePyramidNetwork(self.widths, out_channels, norm_layer=LayerNorm2d)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return four maps (B, C, rows, columns), the finest first, of those of the stages."""
        levels = [*maps, _halve()(maps[-1])] if self.halves else maps
        return list(self.fpn({str(number): x for number, x in enumerate(levels)}).values())


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
