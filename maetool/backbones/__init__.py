"""From the tokens of a plain encoder to maps of several strides, for dense tasks."""

from .backbones import UPerNetBackbone, ViTDetBackbone
from .maps import feature_maps
from .pyramids import LastMap, LayerPyramid, SimpleFeaturePyramid

__all__ = [
    "LastMap",
    "LayerPyramid",
    "SimpleFeaturePyramid",
    "UPerNetBackbone",
    "ViTDetBackbone",
    "feature_maps",
]
