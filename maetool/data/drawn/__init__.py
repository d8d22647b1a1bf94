"""Samples that are drawn: shapes on textures with classes, label maps and objects; clips, bands."""

from maetool._lazy import lazily

_PLACES = {
    "bands": ("BandsDataset",),
    "measured_shapes": ("MeasuredShapes",),
    "moving_shapes": ("MovingShapesDataset",),
    "object_shapes": ("ObjectShapesDataset",),
    "scene_pairs": ("ScenePairsDataset",),
    "shapes": ("ShapesDataset",),
    "shapes_segmentation": ("ShapesSegmentation",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
