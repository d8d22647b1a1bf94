"""Checkpoints: written so that nothing good is lost, read so that no code runs."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.positions import with_tables
from maetool.reading import read_file
from maetool.weights import check_weights
from maetool.weights import read_checkpoint as read_checkpoint  # also the names that engine users look for here
from maetool.weights import weights_of as weights_of
from maetool.writing import failures_told, replace_file

from .sharding import load_weights_into

POINTER = "last_checkpoint"
_LONGEST_NAME = 2**12  # bytes


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


def load_weights(
    model: nn.Module, weights: Mapping[str, Tensor], source: str | Path, config: Path | None = None
) -> None:
    """Load weights that must fit the model completely.

    Args:
        model: gets them.
        weights: its state dict.
        source: the file that they come from, for the message.
        config: the file of the config that they were trained with, where it is known, for the message.

    Raises:
        UsageError: another architecture; the message counts what differs and names the first of each kind. The model
            is left as it was.
    """
    weights = with_tables(model, weights)
    check_weights(model.state_dict(), weights, source, config)
    load_weights_into(model, weights)


def save_as_last(path: Path) -> None:
    """Let the pointer of a work folder name the checkpoint `path`; called only after that file is complete.

    Raises:
        UsageError: the pointer cannot be written; it names the checkpoint before.
    """
    pointer = path.with_name(POINTER)
    with failures_told(pointer):
        replace_file(pointer, lambda file: file.write(path.name.encode()))


def checkpoints_in(work_dir: Path) -> list[Path]:
    """Return the checkpoints of a work folder, the newest first; the one that the pointer names leads."""
    files = [path for path in work_dir.glob("*.pth") if path.is_file()]  # a link may lead nowhere
    found = sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)
    last = _named_by(work_dir / POINTER)
    return [last, *(path for path in found if path != last)] if last in found else found


def _named_by(pointer: Path) -> Path | None:
    try:
        # By its name: MMEngine's hook writes the path, which a folder that is moved leaves behind.
        return pointer.parent / Path(os.fsdecode(read_file(pointer, _LONGEST_NAME).strip())).name
    except OSError:
        return None  # absent, or no file: the newest checkpoint counts


def newest_readable(work_dir: Path, warn: Any) -> Path | None:
    """Return the newest checkpoint that can be read, telling `warn` about those that cannot; None if there is none.

    Those that hold weights alone come last.

    Raises:
        UsageError: there are checkpoints, but none can be read.
    """
    candidates, weights = checkpoints_in(work_dir), None
    for path in candidates:
        try:
            if "optimizer" in read_checkpoint(path, "meta"):
                return path
            weights = weights or path  # such as the best one, from which no training goes on
        except UsageError as error:
            warn(f"{error} Trying the checkpoint before it.")
    if weights:
        return weights
    if candidates:
        raise UsageError(f"None of the {len(candidates)} checkpoints in {work_dir} can be read: start anew elsewhere.")
    return None


def trained_seed(work_dir: str | Path, path: str | Path | None) -> int | None:
    """Return the seed in the checkpoint that a run would go on from; None where that cannot be read, or has none.

    Args:
        work_dir: where the newest checkpoint counts if no path is given.
        path: the checkpoint, or None.
    """
    with suppress(UsageError):  # loading it says so
        path = path or newest_readable(Path(work_dir), lambda _: None)
        seed = (read_checkpoint(path, "meta").get("meta") or {}).get("seed") if path else None
        return seed if type(seed) is int else None
    return None


def to_plain(value: Any) -> Any:
    """Return `value` as tensors and plain containers: NumPy's numbers and arrays and log histories are converted.

    Raises:
        TypeError: anything else, which could not be read back safely.
    """
    if value is None or isinstance(value, bool | Tensor):
        return value
    for plain in (str, int, float):  # also their subclasses, such as torch's version and NumPy's float64
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, HistoryBuffer):
        return {"history": torch.from_numpy(value.data[0].copy()), "counts": torch.from_numpy(value.data[1].copy())}
    if isinstance(value, Mapping):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    raise TypeError(f"A checkpoint holds tensors and plain containers only, not a {type(value).__name__}.")


def history_from_plain(value: Mapping[str, Tensor]) -> HistoryBuffer:
    """Return the log history that `to_plain` turned into tensors."""
    return HistoryBuffer(value["history"].tolist(), value["counts"].tolist())
