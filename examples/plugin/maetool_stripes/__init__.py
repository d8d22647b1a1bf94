"""Striped masks, mean colours, stripes as tokens, a teacher and an evaluator: importing this package registers them."""

from .evaluator import ClassMeanEvaluator
from .masker import StripeMasker
from .stem import StripeStem
from .target import MeanColourTarget
from .teacher import MirrorTeacher

__all__ = ["ClassMeanEvaluator", "MeanColourTarget", "MirrorTeacher", "StripeMasker", "StripeStem"]
