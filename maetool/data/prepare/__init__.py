"""What is done to data once: a prepared set is written."""

from .prepare import REPORT, Recipe, encode, prepare

__all__ = ["REPORT", "Recipe", "encode", "prepare"]
