"""Encoder and pyramid as one module, for detectors and segmentors of other toolboxes too."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from maetool.errors import UsageError
from maetool.messages import print_log
from maetool.metadata.grid import grid_in_meta
from maetool.positions import fit_positions
from maetool.registry import ENCODERS, MODELS
from maetool.weights.complete import check_complete
from maetool.weights.formats.plain import in_names_of
from maetool.weights.read import read_checkpoint, weights_of

from .maps import check_maps, feature_maps
from .pyramids import LayerPyramid, SimpleFeaturePyramid, strides_of

_PUBLISHED = (
    "patch_embed.",
    "blocks.",
    "cls_token",
    "pos_embed",
    "norm.",
)  # the encoder's names of facebookresearch/mae


_LEAST_SHARE = 0.9


class Backbone(BaseModule):
    """An encoder and a pyramid: images to four maps.

    With `init_cfg=dict(type="Pretrained", checkpoint=...)` it begins with the encoder of a checkpoint of any format of
    `maetool.weights.formats.table`. Weights that another toolbox reads itself may have our names or the published ones.
    Tables of positions are resized to the encoder's grid; see `maetool.positions`.

    Attributes:
        encoder: the encoder.
        pyramid: what makes four maps of its layers.
        out_channels: of each map: a number where all have the same.
        strides: pixels (rows, columns) that a place of each map covers.

    Raises:
        UsageError: an encoder whose tokens cover several patches.
    """

    part_registries = {"encoder": ENCODERS}

    def __init__(self, encoder: Any, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.encoder = ENCODERS.build(encoder)
        check_maps(self.encoder)
        self.strides = strides_of(self.encoder.patch_size)
        self.register_load_state_dict_pre_hook(_adapt)

    def init_weights(self) -> None:
        """Fill the encoder from the checkpoint that `init_cfg` names; without one, keep the random weights.

        Raises:
            UsageError: a file that cannot be read, or one that leaves more than a tenth of the encoder unfilled.
        """
        source = (self.init_cfg or {}).get("checkpoint")
        if source is None:
            return super().init_weights()
        # MMEngine itself warns at most where a file fills nothing, does not look under "model", and may run code.
        state = read_checkpoint(source)
        own = self.state_dict()
        weights = in_names_of(own, weights_of(state, source))
        inside = {name.removeprefix("encoder."): v for name, v in weights.items() if name.startswith("encoder.")}
        fitted = fit_positions(self, own, weights, grid_in_meta(state.get("meta"), self.encoder, inside))
        weights = fitted.weights
        fitting = {name: value for name, value in weights.items() if _fits(value, own.get(name))}
        self._refuse_unfilled(source, fitting)
        missing = [name for name in own if name.startswith("encoder.blocks.") and name not in fitting]
        check_complete(missing, [name for name in weights if name not in own], weights, own, source)
        self.load_state_dict(fitting, strict=False)
        unfilled, unused = ([n for n in names if n not in fitting] for names in (own, weights))
        print_log(
            f"{source}: {len(fitting)} tensors loaded; resized: {_named(fitted.resized)}; taken for the same grid, "
            f"which the file does not say: {_named(fitted.assumed)}; untrained: {_named(unfilled)}; unused: "
            f"{_named(unused)}.",
        )

    def _refuse_unfilled(self, source: str, weights: Mapping[str, Tensor]) -> None:
        # Relative positions, which a plain encoder has not, begin at zero.
        own = {f"encoder.{name}": value for name, value in self.encoder.state_dict().items() if "rel_pos" not in name}
        lacking = [name for name in own if name not in weights]
        share = 1 - sum(own[name].numel() for name in lacking) / sum(value.numel() for value in own.values())
        if share < _LEAST_SHARE:
            raise UsageError(
                f"{source} fills {share:.1%} of the encoder: it lacks, or has in another shape, {_named(lacking)}. "
                "Pass a checkpoint of this encoder, or leave init_cfg out."
            )

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


def _named(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(names[:3])}{' and others' if len(names) > 3 else ''})" if names else "none"


def _fits(value: Tensor, own: Tensor | None) -> bool:
    return own is not None and own.shape == value.shape


def _adapt(backbone: Backbone, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give the weights that are loaded the names and the positions of the backbone's encoder."""
    for name in [name for name in state if name.startswith(_PUBLISHED) and not prefix]:
        state[f"encoder.{name}"] = state.pop(name)
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    fitted = fit_positions(backbone, backbone.state_dict(), inside).weights
    state.update({prefix + name: value for name, value in fitted.items()})


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

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return LayerPyramid.debug_arguments(arguments)
