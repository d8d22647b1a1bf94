"""From the tokens of a plain encoder to maps of several strides, for dense tasks."""

from maetool._lazy import lazily

_PLACES = {
    "backbones": ("UPerNetBackbone", "ViTDetBackbone"),
    "maps": ("build_pyramid", "check_maps", "feature_maps"),
    "pyramids": ("LastMap", "LayerPyramid", "SimpleFeaturePyramid", "StageFPN", "StagePyramid"),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
