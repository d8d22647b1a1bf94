"""Which files of a folder hold the weights: of a snapshot of the hub, of a Trainer, or of weights in shards."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from maetool.errors import UsageError
from maetool.reading import read_file

_ENDINGS = (".pth", ".pt", ".bin", ".safetensors")
_INDEX = ".index.json"
# The same weights in two files: the hub's own programs read them in this order.
PREFERRED = ("model.safetensors", f"model.safetensors{_INDEX}", "pytorch_model.bin", f"pytorch_model.bin{_INDEX}")
# What transformers' Trainer and accelerate write beside the weights.
_BESIDE = re.compile(r"(optimizer|scheduler|scaler|rng_state|random_states|training_args)\w*\.\w+")
_SHARD = re.compile(r".+-\d{5}-of-\d{5}\.\w+")
_MOST_BYTES = 2**26  # of an index, which has some hundred bytes for each tensor


def file_of(path: Path) -> Path:
    """Return the file that holds the weights of `path`: itself, or that of a folder; of shards, their index.

    Of a snapshot of the hub it is model.safetensors, else pytorch_model.bin; states of optimisers do not count.

    Args:
        path: a file or a folder.

    Raises:
        UsageError: there is none, or a folder holds several.
    """
    if not path.is_dir():
        if not path.is_file():
            raise UsageError(f"There is no checkpoint {path}: pass the path of a .pth or .safetensors file.")
        return path
    files = {file.name: file for file in sorted(path.iterdir()) if _may_hold(file)}
    for name in PREFERRED:
        if name in files:
            return files[name]
    if len(files) == 1:
        return next(iter(files.values()))
    names = ", ".join(files) or "none"
    raise UsageError(
        f"The folder {path} must hold one file of weights, but holds {names}: pass the path of one{_inside(path)}."
    )


def _may_hold(file: Path) -> bool:
    name = file.name
    if not file.is_file() or _BESIDE.fullmatch(name) or _SHARD.fullmatch(name):
        return False
    return name.endswith((*_ENDINGS, *(f"{ending}{_INDEX}" for ending in _ENDINGS)))


def _inside(path: Path) -> str:
    """Return a hint at the folders of a Trainer or of the hub's cache that hold weights, the newest first."""
    holding = {file.parent for file in path.glob("*/*") if _may_hold(file)}
    holding |= {file.parent for file in path.glob("snapshots/*/*") if _may_hold(file)}
    newest = max(holding, key=lambda folder: folder.stat().st_mtime, default=None)
    return f", or the folder {newest}" if newest else ""


def is_index(path: Path) -> bool:
    """Return whether the file `path` is the index of weights in shards."""
    return path.name.endswith(_INDEX)


def read_shards(index: Path, read: Callable[[Path], Mapping[str, Any]]) -> dict[str, Any]:
    """Return `state_dict`, the tensors of all shards.

    Args:
        index: the index, JSON with `weight_map`, from the names of tensors to the files beside it.
        read: returns the content of one shard: the tensors by name, or those as `state_dict`.

    Raises:
        UsageError: a damaged index, or shards that do not hold exactly the tensors of the index.
    """
    places = _places(index)
    weights: dict[str, Tensor] = {}
    for name in shards_of(index):
        content = read(file_of(index.parent / name))
        shard = content.get("state_dict", content)
        expected = {tensor for tensor, file in places.items() if file == name}
        if expected != shard.keys():
            raise _other_tensors(index, name, expected ^ shard.keys())
        weights |= shard
    return {"state_dict": weights}


def shards_of(index: Path) -> list[str]:
    """Return the names of the files beside an index that hold its weights.

    Raises:
        UsageError: a damaged index.
    """
    return sorted(set(_places(index).values()))


def _places(index: Path) -> dict[str, str]:
    try:
        places = json.loads(read_file(index, _MOST_BYTES)).get("weight_map")
    except (OSError, ValueError, RecursionError, AttributeError):
        places = None
    if not isinstance(places, dict) or not places or not all(_is_beside(name) for name in places.values()):
        raise UsageError(
            f"{index} is no index of weights in shards, which has a weight_map from names of tensors to names of files "
            "in the same folder: copy it again."
        )
    return places


def _is_beside(name: Any) -> bool:
    return isinstance(name, str) and Path(name).name == name and name.endswith(_ENDINGS)


def _other_tensors(index: Path, shard: str, names: Iterable[str]) -> UsageError:
    some = sorted(map(str, names))
    return UsageError(
        f"{shard} holds other tensors than {index} says ({len(some)}, such as {some[0]}): the shards are of two "
        "models, or one is damaged. Copy the folder again."
    )
