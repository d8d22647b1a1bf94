"""Predictions, target and plan to losses."""

from .classification import ClassificationHead
from .regression import RegressionHead
from .weighted import weighted_sum

__all__ = ["ClassificationHead", "RegressionHead", "weighted_sum"]
