"""Atomic writes of checkpoints, which hold tensors and plain containers only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maetool._deprecated import moved
from maetool.writing import as_output_error, replace_file


def write_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint atomically.

    torch writes a zip archive with a checksum (CRC-32) of every record, which `read_checkpoint` checks.

    Args:
        state: what is stored; see `to_plain`.
        path: of the file; missing folders are made.

    Raises:
        UsageError: the disk is full or the folder cannot be written; existing files stay unchanged.
    """
    plain = to_plain(state)
    with as_output_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: torch.save(plain, file))


def to_plain(value: Any) -> Any:
    """Convert a value to tensors and plain containers; NumPy's numbers and arrays are converted.

    Raises:
        TypeError: any other type, which could not be read back safely.
    """
    if value is None or isinstance(value, bool | Tensor):
        return value
    for plain in (str, int, float):  # also subclasses, such as torch's version and NumPy's float64
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, Mapping):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    raise TypeError(f"A checkpoint holds tensors and plain containers only, not a {type(value).__name__}.")


__getattr__ = moved(__name__, {"failures_told": "maetool.writing.as_output_error"}, "0.3.0")
