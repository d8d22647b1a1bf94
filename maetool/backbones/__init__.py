"""From the tokens of a plain encoder to maps of several strides, for dense tasks."""

from .backbones import UPerNetBackbone, ViTDetBackbone
from .maps import check_maps, feature_maps
from .pyramids import LastMap, LayerPyramid, SimpleFeaturePyramid

__all__ = [
    "LastMap",
    "LayerPyramid",
    "SimpleFeaturePyramid",
    "UPerNetBackbone",
    "ViTDetBackbone",
    "check_maps",
    "feature_maps",
]
