"""Draws reconstructions, curves, masks, and what features are like."""

from maetool._lazy import lazily

_PLACES = {
    "attention": ("attention_maps", "attention_panel", "draw_attention"),
    "features": ("clusters", "map_figure", "nearest_neighbours", "patch_components", "principal_components"),
    "galleries": ("gallery", "patch_colours"),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
