"""Predictions, target and plan to losses."""

from .classification import ClassificationHead
from .regression import RegressionHead

__all__ = ["ClassificationHead", "RegressionHead"]
