"""Reads weight files without executing code, and checks them against the model."""

import argparse
import pickle
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.weights.formats.table import to_ours

from .addresses import local_file as local_file
from .folders import file_of, is_index, read_shards
from .inert import load_with_objects
from .numbers import as_table, check_numbers
from .stored import read_safetensors
from .stored import safetensors_metadata as safetensors_metadata
from .unwrap import say, unwrap

_MAGIC = b"\x8a\nl\xfc\x9cF"  # torch's old format begins with this number, pickled
# Bounds of a loaded checkpoint: a multiple of its bytes plus a constant, one part per byte plus a constant, a depth.
_TIMES, _MORE_BYTES, _MORE_PARTS, _DEEPEST = 8, 2**26, 2**20, 100
_SHOWN = 5  # names in a message


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint after checking its checksums, without executing code in it.

    Args:
        path: a file of torch or safetensors, the index of weights in shards, a folder with one of these, as Hugging
            Face writes it (`maetool.weights.folders`), or an address, see `maetool.weights.addresses.local_file`.
        map_location: device for the tensors of a file of torch.

    Raises:
        UsageError: the file is missing or damaged, contains more than tensors and plain containers, unpacks to much
            more than its size, contains no weights, or its `meta` is not a mapping.
    """
    path = file_of(local_file(path))
    if is_index(path):
        return read_shards(path, lambda shard: read_checkpoint(shard, map_location))
    try:
        if path.suffix == ".safetensors":
            return read_safetensors(path)
        check_archive(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # plain values, in published checkpoints
            state = _load(path, map_location)
        _check_contents(state, path, torch.device(map_location).type == "meta")
    except UsageError:
        raise
    except pickle.UnpicklingError as error:
        raise UsageError(_explain_unpickling(path, str(error))) from error
    except PermissionError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): ask its owner for permission.") from error
    except Exception as error:  # zip, pickle and torch raise anything on damaged files
        raise UsageError(_explain_damage(path)) from error
    if not isinstance(state, dict) or not state:
        raise UsageError(f"{path} holds a {type(state).__name__} and no weights: pass a checkpoint of a model.")
    if not isinstance(state.get("meta", {}), Mapping | Tensor | None):
        raise UsageError(
            f"The metadata of {path} (`meta`) is a {type(state['meta']).__name__}, but must be a dict: save its "
            "weights "
            'alone, torch.save(torch.load(PATH)["state_dict"], NEW_PATH).'
        )
    return state


def _load(path: Path, map_location: Any) -> Any:
    """Return what a file of torch holds, with placeholders for objects beside the weights, which are named."""
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError:
        try:
            state, names = load_with_objects(path, map_location)
        except Exception:  # the first reason says more
            state = None
        if not _has_tensors(state, 0):  # objects alone, such as a pickled module
            raise
    say(
        f"{path}: objects beside the weights were passed over, without their code: {', '.join(names[:_SHOWN])}"
        f"{f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''}."
    )
    return state


def _has_tensors(value: Any, depth: int) -> bool:
    if isinstance(value, Tensor):
        return True
    inner = value.values() if isinstance(value, Mapping) and depth < _DEEPEST else ()
    return any(_has_tensors(item, depth + 1) for item in inner)


def check_archive(path: Path) -> None:
    """Check the checksum of every record of a checkpoint, which torch does not do; old formats have none.

    Args:
        path: of the checkpoint.

    Raises:
        UsageError: a TorchScript program, or compressed records.
        zipfile.BadZipFile: a record, or the list of records, is damaged.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
    with zipfile.ZipFile(path) as archive:
        names, size = archive.namelist(), sum(record.file_size for record in archive.infolist())
        if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
            raise UsageError(
                f"{path} is a TorchScript program, not a checkpoint: loading it would run its code. If you trust "
                "it, save its weights alone: torch.save(torch.jit.load(PATH).state_dict(), NEW_PATH)."
            )
        if size > path.stat().st_size:  # torch compresses nothing
            raise UsageError(
                f"{path} is not a checkpoint of torch: its {path.stat().st_size:,} bytes are compressed and would "
                f"unpack to {size:,}. Save the weights again with torch.save or as safetensors."
            )
        damaged = archive.testzip()
    if damaged:
        raise zipfile.BadZipFile(f"the checksum of {damaged} does not match")


def _check_contents(state: Any, path: Path, to_meta: bool) -> None:
    """Check that the content of a checkpoint is not much larger than its file.

    A tensor may repeat one number a million times, be sparse or have no storage, and a container may contain another
    one many times, or itself.

    Raises:
        UsageError: it is much larger.
    """
    size, waiting = path.stat().st_size, [(state, 0)]
    parts, left = _MORE_PARTS + size, _TIMES * size + _MORE_BYTES
    while waiting:
        value, depth = waiting.pop()
        inner, plain = _inside(value), True
        parts -= len(inner)
        if isinstance(value, Tensor):
            left -= value.numel() * value.element_size()
            plain = value.layout is torch.strided and (to_meta or not value.is_meta)
        if min(parts, left) < 0 or depth > _DEEPEST or not plain:
            raise UsageError(
                f"{path} describes more than its {size:,} bytes hold (tensors that repeat numbers, are sparse or have "
                "none, or lists that contain themselves): ask its author for a plain state dict or safetensors."
            )
        waiting += [(item, depth + 1) for item in inner]


def _inside(value: Any) -> Collection[Any]:
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple | set | frozenset) else ()


def _explain_damage(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(9)
    # torch's files begin like a zip or a pickle, safetensors with a length and a brace; zeros are a disk error.
    if len(start) == 9 and start.startswith(b"\x80") and not start[2:].startswith(_MAGIC):
        return (
            f"{path} is a pickle of Python objects, which torch did not write: loading it could run code, so it is "
            "refused. Ask its author for a plain state dict or safetensors."
        )
    if start.strip(b"\0") and not start.startswith((b"PK", b"\x80")) and start[8:] != b"{":
        return f"{path} is not a checkpoint (it begins with {start!r}): pass the path of a .pth or .safetensors file."
    return (
        f"{path} is damaged or truncated ({path.stat().st_size:,} bytes): use an earlier checkpoint, "
        "or copy the file again."
    )


def _explain_unpickling(path: Path, reason: str) -> str:
    match = re.search(r"(?:GLOBAL|class) ([\w.]+)", reason)
    if not match:
        return _explain_damage(path)
    return (
        f"{path} holds more than tensors and plain containers ({match[1]}): loading it could run code, so it is "
        "refused. Ask its author for a plain state dict or safetensors; or, if you trust the file and have its "
        'packages, keep the weights alone: x = torch.load(PATH, weights_only=False); torch.save(x.get("model") or '
        'x["state_dict"], NEW_PATH), with .state_dict() after it if it is a module.'
    )


def weights_of(state: Mapping[str, Any], source: str | Path) -> dict[str, Tensor]:
    """Return the model's weights in `state`, the content of the checkpoint `source`, under maetool's names.

    The checkpoint may be maetool's, a bare state dict, or another project's, see `maetool.weights.formats.table`.

    Raises:
        UsageError: it contains no weights, those of two models, integers in place of weights, NaN or infinite values.
    """
    weights = to_ours(named_weights(state, source), str(source))
    check_numbers(weights, source)
    return {name: as_table(value) if name.endswith("pos_embed") else value for name, value in weights.items()}


def named_weights(state: Mapping[str, Any], source: str | Path) -> dict[str, Tensor]:
    """Return the model's weights in `state`, the content of the checkpoint `source`, under their stored names.

    Raises:
        UsageError: it contains no weights, or several sets without an indication which one to use.
    """
    return unwrap(state, source)


def check_weights(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: str | Path, config: Path | None = None
) -> None:
    """Check that weights have the names and shapes of `own`, a model's state dict.

    The message names `source`, the file of the weights, and `config`, the file of their config, if known.

    Raises:
        UsageError: a different number of classes, or a different architecture; the message counts the differences and
            names the first of each kind.
    """
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
    problems = [f"{len(names)} {kind} (first {names[0]})" for kind, names in differences.items() if names]
    if problems:
        raise UsageError(
            f"{source} is a checkpoint of another architecture than the config's: of {len(own)} tensors "
            f"{'; '.join(problems)}. Pass the config that the checkpoint was trained "
            f"with{f', {config}' * bool(config)}."
        )


def _check_classes(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: str | Path) -> None:
    here, there = (len(state["head.weight"]) if "head.weight" in state else None for state in (own, weights))
    if here and there and here != there:
        raise UsageError(
            f"{source} has {there} classes, but model.num_classes is {here}: set model.num_classes={there}, or "
            "train on other classes from its encoder with --init."
        )
