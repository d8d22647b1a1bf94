"""Checkpoints: written so that nothing good is lost, read so that no code runs."""

import argparse
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor, nn

from maetool.convert.mae import from_published, is_published
from maetool.errors import UsageError

from .files import replace_file
from .sharding import load_weights_into

POINTER = "last_checkpoint"


def write_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write `state` to `path` so that the file is there completely or not at all.

    torch writes a zip archive, which holds a checksum (CRC-32) of every record; `read_checkpoint` checks them all.

    Raises:
        UsageError: the disk is full or the folder cannot be written; files that exist stay as they are.
    """
    plain = to_plain(state)
    with _failures_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: torch.save(plain, file))


@contextmanager
def _failures_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        raise UsageError(
            f"The checkpoint {path} could not be written ({error}): make room or choose another --work-dir. "
            "The checkpoints written before are untouched."
        ) from error


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Return the contents of a checkpoint: its checksums compared, loaded without running any code it may hold.

    Raises:
        UsageError: no such file, a damaged one, one that holds more than tensors and plain containers, or one that
            holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"There is no checkpoint {path}: pass the path of a .pth file.")
    try:
        check_archive(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # plain values, in checkpoints of published code
            state = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise UsageError(_explain_unpickling(path, str(error))) from error
    except PermissionError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): ask its owner for permission.") from error
    except Exception as error:  # whatever a damaged file makes the readers of zip, pickle and tensors raise
        raise UsageError(_explain_damage(path)) from error
    if not isinstance(state, dict) or not state:
        raise UsageError(f"{path} holds a {type(state).__name__} and no weights: pass a checkpoint of a model.")
    return state


def check_archive(path: Path) -> None:
    """Compare every record of a checkpoint with its checksum, which torch itself does not; old formats have none.

    Raises:
        zipfile.BadZipFile: a record, or the list of records, is damaged.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise zipfile.BadZipFile(f"the checksum of {damaged} does not match")


def _explain_damage(path: Path) -> str:
    return (
        f"{path} is damaged or was cut off ({path.stat().st_size:,} bytes): use an earlier checkpoint, "
        "or copy the file again."
    )


def _explain_unpickling(path: Path, reason: str) -> str:
    found = re.search(r"(?:GLOBAL|class) ([\w.]+)", reason)
    if not found:
        return _explain_damage(path)
    return (
        f"{path} holds more than tensors and plain containers ({found[1]}): loading it could run code, so it is "
        "refused. Ask its author for a plain state dict or safetensors."
    )


def weights_of(state: Mapping[str, Any], source: str | Path) -> dict[str, Tensor]:
    """Return the model's weights in a checkpoint, under our names.

    The checkpoint is one of ours, a bare state dict, or one of facebookresearch/mae with the names used there.

    Raises:
        UsageError: there are none.
    """
    weights = state.get("state_dict", state.get("model", state))
    if not isinstance(weights, Mapping) or not any(isinstance(value, Tensor) for value in weights.values()):
        raise UsageError(f"{source} holds no weights (found {', '.join(map(str, state))}): pass a model's checkpoint.")
    weights = {name.removeprefix("module."): value for name, value in weights.items() if isinstance(value, Tensor)}
    return from_published(weights) if is_published(weights) else weights


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Load weights that must fit the model completely.

    Raises:
        UsageError: another architecture; the message counts what differs and names the first of each kind. The model
            is left as it was.
    """
    own = model.state_dict()
    _check_classes(own, weights, source)
    differences = {
        "missing in the file": [name for name in own if name not in weights],
        "unknown to the model": [name for name in weights if name not in own],
        "of another shape": [
            f"{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
            for name in own
            if name in weights and weights[name].shape != own[name].shape
        ],
    }
    found = [f"{len(names)} {kind} (first {names[0]})" for kind, names in differences.items() if names]
    if found:
        raise UsageError(
            f"{source} is a checkpoint of another architecture than the config's: of {len(own)} tensors "
            f"{'; '.join(found)}. Pass the config that the checkpoint was trained with."
        )
    load_weights_into(model, weights)


def _check_classes(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: str | Path) -> None:
    here, there = (len(state["head.weight"]) if "head.weight" in state else None for state in (own, weights))
    if here and there and here != there:
        raise UsageError(
            f"{source} tells {there} classes apart, but model.num_classes is {here}: set model.num_classes={there}, or "
            "train on other classes from its encoder with --init."
        )


def save_as_last(path: Path) -> None:
    """Let the pointer of a work folder name the checkpoint `path`; called only after that file is complete.

    Raises:
        UsageError: the pointer cannot be written; it names the checkpoint before.
    """
    with _failures_told(path):
        replace_file(path.with_name(POINTER), lambda file: file.write(path.name.encode()))


def checkpoints_in(work_dir: Path) -> list[Path]:
    """Return the checkpoints of a work folder, the newest first; the one that the pointer names leads."""
    found = sorted(work_dir.glob("*.pth"), key=lambda path: path.stat().st_mtime, reverse=True)
    pointer = work_dir / POINTER
    last = work_dir / pointer.read_text().strip() if pointer.is_file() else None
    return [last, *(path for path in found if path != last)] if last in found else found


def newest_readable(work_dir: Path, warn: Any) -> Path | None:
    """Return the newest checkpoint that can be read, telling `warn` about those that cannot; None if there is none.

    Raises:
        UsageError: there are checkpoints, but none can be read.
    """
    candidates = checkpoints_in(work_dir)
    for path in candidates:
        try:
            read_checkpoint(path, "meta")
            return path
        except UsageError as error:
            warn(f"{error} Trying the checkpoint before it.")
    if candidates:
        raise UsageError(f"None of the {len(candidates)} checkpoints in {work_dir} can be read: start anew elsewhere.")
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
