"""Predictions, target and plan to losses."""

from .regression import RegressionHead

__all__ = ["RegressionHead"]
