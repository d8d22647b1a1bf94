"""What should have been predicted."""

from maetool._lazy import lazily

_PLACES = {
    "cells": ("CellTarget",),
    "clusters": ("ClusterTarget",),
    "errors": ("ErrorTarget",),
    "features": ("FeatureTarget", "MomentumFeatureTarget", "TeacherTarget"),
    "hog": ("HOGTarget",),
    "ids": ("IdTarget",),
    "low_frequency": ("LowFrequencyTarget",),
    "picture": ("PictureTarget",),
    "pixel": ("PixelTarget",),
    "predictions": ("TeacherPredictionTarget",),
    "samples": ("SampleTarget",),
    "streams": ("StreamTarget",),
    "token_features": ("TeacherFeatureTarget",),
    "tokens": ("TokenTarget",),
    "zero": ("ZeroTarget",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
