"""What was read from files, kept as arrays in the user's cache folder while the files stay as they are."""

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maetool.reading import read_npz

from .packed.names import Names

_logger = logging.getLogger("maetool")
# File systems round times, some to two seconds: a folder changed that shortly before a scan can change again unseen.
_GRACE_NS = 2_000_000_000


@dataclass(frozen=True)
class Dependencies:
    """The files and folders that something was read from.

    Attributes:
        paths: where they are.
        states: int64 (N, 2), see `state_of`, when the reading began.
        began_ns: when that was, in nanoseconds.
    """

    paths: Names
    states: np.ndarray
    began_ns: int

    @classmethod
    def of(cls, states: Mapping[bytes, tuple[int, int]], began_ns: int) -> "Dependencies":
        """Pack paths and their states.

        Args:
            states: of each path, see `state_of`.
            began_ns: when they were read, in nanoseconds of the system's clock.
        """
        return cls(Names.of(list(states)), np.array(list(states.values()), np.int64).reshape(-1, 2), began_ns)

    def are_unchanged(self) -> bool:
        """Return whether all are as they were, and had been so for a while."""
        states = [tuple(state) for state in self.states.tolist()]
        quiet = all(changed < self.began_ns - _GRACE_NS for changed, _ in states)
        return quiet and all(state == state_of(self.paths[i]) for i, state in enumerate(states))


def state_of(path: str | bytes) -> tuple[int, int]:
    """Return when the file or folder `path` was changed, in nanoseconds, and a file's size; (-1, -1) if missing."""
    # A folder's time changes when an entry comes, goes or is renamed, so the files themselves need no look.
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_mtime_ns, 0 if stat.S_ISDIR(status.st_mode) else status.st_size


def cache_of(source: str, cache_dir: str | Path | None = None) -> Path:
    """Return the cache file of a source, in `cache_dir`, by default `maetool/index` in the user's cache folder."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(cache_dir) if cache_dir else Path(user_cache, "maetool", "index")
    return folder / f"{hashlib.sha256(os.fsencode(source)).hexdigest()[:32]}.npz"


def load_arrays(cache: Path, format_: str) -> dict[str, np.ndarray] | None:
    """Return the arrays of a cache file; None if it is absent, damaged, out of date or not of `format_`."""
    try:
        arrays = read_npz(cache)
        states, began = arrays["states"], arrays["began_ns"]
        if str(arrays["format"]) != format_ or {states.dtype, began.dtype} != {np.dtype(np.int64)} or began.ndim:
            return None
        paths = names_in(arrays, "source")
        current = states.shape == (len(paths), 2) and Dependencies(paths, states, int(began)).are_unchanged()
        return arrays if current else None
    except (OSError, ValueError, KeyError):
        return None


def save_arrays(cache: Path, format_: str, dependencies: Dependencies, arrays: Mapping[str, Any]) -> None:
    """Write a cache file; a folder that cannot be written is logged.

    Args:
        cache: see `cache_of`.
        format_: a word for the layout of the arrays, changed with it.
        dependencies: what the arrays were read from.
        arrays: name to array, or to `Names`.
    """
    content: dict[str, Any] = {"format": np.array(format_), "states": dependencies.states}
    content["began_ns"] = np.array(dependencies.began_ns)
    for name, value in {**arrays, "source": dependencies.paths}.items():
        packed = isinstance(value, Names)
        content |= {f"{name}_blob": value.blob, f"{name}_offsets": value.offsets} if packed else {name: value}
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        # Another process may read or write the same cache, so it appears complete or not at all.
        with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
            np.savez(Path(folder, cache.name), **content)
            os.replace(Path(folder, cache.name), cache)
    except OSError as error:
        _logger.warning("The list of files cannot be cached in %s (%s); the next start searches again.", cache, error)


def names_in(arrays: Mapping[str, np.ndarray], name: str) -> Names:
    """Return the names that `save_arrays` wrote as `name` into `arrays`.

    Raises:
        KeyError, ValueError: they are missing or damaged.
    """
    return Names.checked(arrays[f"{name}_blob"], arrays[f"{name}_offsets"])
