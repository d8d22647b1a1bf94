"""Renames keys of other projects' checkpoints, one file per project."""
