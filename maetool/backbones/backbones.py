"""Encoder and pyramid as one module, for detectors and segmentors of other toolboxes too."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.pos_embed import fit_pos_embed, square_grid
from maetool.registry import ENCODERS, MODELS

from .maps import feature_maps
from .pyramids import LayerPyramid, SimpleFeaturePyramid, strides_of

_PUBLISHED = (
    "patch_embed.",
    "blocks.",
    "cls_token",
    "pos_embed",
    "norm.",
)  # the encoder's names of facebookresearch/mae


class Backbone(BaseModule):
    """An encoder and a pyramid: images to four maps.

    It loads the encoder of a checkpoint of ours, or one with the published names, in whatever way another toolbox reads
    the file. Learned positions are resized; those of the file count as square where they are for another grid.

    Attributes:
        encoder: the encoder.
        pyramid: what makes four maps of its layers.
        out_channels: of each map: a number where all have the same.
        strides: pixels (rows, columns) that a place of each map covers.
    """

    def __init__(self, encoder: Any, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.encoder = ENCODERS.build(encoder)
        self.strides = strides_of(self.encoder.patch_size)
        self.register_load_state_dict_pre_hook(_adapt)

    @property
    def out_channels(self) -> int:
        """Channels of each of the four maps."""
        return self.pyramid.channels[0]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return four maps (B, C, rows, columns), the finest first, of images (B, 3, H, W) of any size, normalised.

        Raises:
            UsageError: images that the encoder does not take.
        """
        return tuple(self.pyramid(feature_maps(self.encoder, images, self.pyramid.layers)))


def _adapt(backbone: Backbone, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give the weights that are loaded the names and the positions of the backbone's encoder."""
    for name in [name for name in state if name.startswith(_PUBLISHED) and not prefix]:
        state[f"encoder.{name}"] = state.pop(name)
    encoder, name = backbone.encoder, f"{prefix}encoder.pos_embed"
    theirs, ours = state.get(name), getattr(encoder, "pos_embed", None)
    if theirs is None or ours is None or theirs.shape == ours.shape:
        return
    old = square_grid(theirs.shape[1], encoder.num_prefix_tokens)
    if not encoder.learns_positions:
        state[name] = ours.detach()
    elif old is None:
        raise UsageError(
            f"The weights have {theirs.shape[1]} positions, which are no square of patches: take those of an encoder "
            "that was trained on squares."
        )
    else:
        state[name] = fit_pos_embed(theirs, old, encoder.grid, encoder.num_prefix_tokens)


@MODELS.register_module()
class ViTDetBackbone(Backbone):
    """The last map of an encoder as a simple feature pyramid; see `SimpleFeaturePyramid`.

    With patches of 16 pixels the maps have the strides 4, 8, 16 and 32.

    Args:
        encoder: config or module, as a rule a `WindowedTransformer`.
        out_channels: of each map.
        init_cfg: MMEngine's, which other toolboxes pass.
    """

    def __init__(self, encoder: Any, out_channels: int = 256, init_cfg: Any = None) -> None:
        super().__init__(encoder, init_cfg)
        self.pyramid = SimpleFeaturePyramid(self.encoder.embed_dim, out_channels)


@MODELS.register_module()
class UPerNetBackbone(Backbone):
    """Four layers of an encoder, at four resolutions; see `LayerPyramid`.

    Args:
        encoder: config or module, as a rule a `VisionTransformer`.
        layers: which ones, see `LayerPyramid`.
        init_cfg: MMEngine's, which other toolboxes pass.
    """

    def __init__(self, encoder: Any, layers: Sequence[int] | None = None, init_cfg: Any = None) -> None:
        super().__init__(encoder, init_cfg)
        self.pyramid = LayerPyramid(self.encoder.embed_dim, self.encoder.num_layers, layers)
