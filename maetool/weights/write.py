"""Atomic writes of checkpoints, which hold tensors and plain containers only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maetool.writing import failures_told, replace_file


def write_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write `state` to `path` so that the file is there completely or not at all.

    torch writes a zip archive, which holds a checksum (CRC-32) of every record; `read_checkpoint` checks them all.

    Raises:
        UsageError: the disk is full or the folder cannot be written; files that exist stay as they are.
    """
    plain = to_plain(state)
    with failures_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: torch.save(plain, file))


def to_plain(value: Any) -> Any:
    """Return `value` as tensors and plain containers: NumPy's numbers and arrays are converted.

    Raises:
        TypeError: anything else, which could not be read back safely.
    """
    if value is None or isinstance(value, bool | Tensor):
        return value
    for plain in (str, int, float):  # also their subclasses, such as torch's version and NumPy's float64
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
