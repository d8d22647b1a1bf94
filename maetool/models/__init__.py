"""Models: the parts joined."""

from maetool._lazy import lazily

_PLACES = {
    "base": ("TrainableModel", "has_following_parts", "parts_after_step", "start_parts"),
    "classifier": ("ImageClassifier",),
    "detector": ("ObjectDetector",),
    "mim": ("MaskedImageModel",),
    "regressor": ("ImageRegressor",),
    "segmentor": ("Segmentor",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
