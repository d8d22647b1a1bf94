"""What is done to data once: a prepared set written, its statistics measured."""

from .prepare import REPORT, Recipe, encode, prepare

__all__ = ["REPORT", "Recipe", "encode", "prepare"]
