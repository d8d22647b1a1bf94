"""Which files a dataset has: found in a folder or read from a list once, and remembered in a cache."""

import codecs
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maetool._deprecated import moved
from maetool.data.codecs.endings import (
    HEAD_BYTES,
    IMAGE_EXTENSIONS,
    describe_others,
    ending_of,
    hint_for,
    looks_like_image,
)
from maetool.data.codecs.images import read_bytes
from maetool.errors import UsageError, printable
from maetool.reading import MOST_BYTES, read_file, read_head, read_npz

from .base import Source
from .packed_names import Names

LIST_EXTENSIONS = (".txt", ".lst", ".list")

_logger = logging.getLogger("maetool")
_FORMAT = f"2 {' '.join(IMAGE_EXTENSIONS)}"
# File systems round times, some to two seconds: a folder changed that shortly before a scan can change again unseen.
_GRACE_NS = 2_000_000_000
_HOW_TO_SET = "pass --data FOLDER, or --cfg-options train_dataloader.dataset.root=FOLDER"


@dataclass(frozen=True)
class FileIndex(Source):
    """The files of a dataset, in a fixed order: sorted for a folder, as written for a list.

    Attributes:
        root: absolute folder that relative names start from.
        names: the files, relative to `root` or absolute.
    """

    root: str
    names: Names

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        """Return the path of file `index`."""
        return os.path.join(self.root, self.names[index])

    def relative(self, index: int) -> str:
        """Return the path of file `index` as seen from `root`."""
        name = self.names[index]
        return os.path.relpath(name, self.root) if os.path.isabs(name) else name

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return the path and the content of file `index`.

        Raises:
            UnreadableImage: missing, empty, of more than `most` bytes, not to be read, or not a regular file.
        """
        path = self.path(index)
        return path, read_bytes(path, most)


@dataclass(frozen=True)
class _Scan:
    """What a search found, how many files it passed over, and the folders (or the list) that it depends on."""

    names: Names
    others: Counter[str]
    sources: Names
    states: np.ndarray  # int64 (len(sources), 2), see `_state_of`
    began_ns: int

    def is_current(self) -> bool:
        states = [tuple(state) for state in self.states.tolist()]
        quiet = all(changed < self.began_ns - _GRACE_NS for changed, _ in states)
        return quiet and all(state == _state_of(self.sources[i]) for i, state in enumerate(states))


def _state_of(source: str | bytes) -> tuple[int, int]:
    # A folder's time changes when an entry comes, goes or is renamed, so the files themselves need no look.
    try:
        status = os.stat(source)
    except OSError:
        return -1, -1
    return status.st_mtime_ns, 0 if stat.S_ISDIR(status.st_mode) else status.st_size


def index_files(root: str | Path, cache_dir: str | Path | None = None) -> FileIndex:
    """Return the image files below the folder `root`, or those that the text list `root` names.

    A folder is searched to any depth; symbolic links to folders are followed, each folder is visited once, and hidden
    entries are skipped. Files without an ending count by their first bytes; those of other endings are passed over, and
    a line of the log counts them. A list has one path a line, absolute or relative to the list's folder; blank lines
    and lines that begin with # are ignored. The result is cached, and found again without a search while no folder has
    changed.

    Args:
        root: the folder or the list.
        cache_dir: where to keep the cache; by default `maetool/index` in the user's cache folder.

    Raises:
        UsageError: nothing there, nothing that is an image, or something that may not be read.
    """
    root = os.path.abspath(os.path.expanduser(root))
    if not os.path.exists(root):
        raise UsageError(f"There is no data at {root}{_nearest_parent(root)}: {_HOW_TO_SET}.")
    is_list = not os.path.isdir(root)
    if is_list and not root.lower().endswith(LIST_EXTENSIONS):
        raise UsageError(
            f"{root} is a single file; expected is a folder of images, or a text list ({', '.join(LIST_EXTENSIONS)}) "
            f"with one path per line: {_HOW_TO_SET}."
        )
    cache = _cache_path(root, cache_dir)
    scan = _load(cache)
    if scan is None or not scan.is_current():
        scan = _scan_list(root) if is_list else _scan_folder(root)
        _save(scan, cache)
    _tell_of_others(root, scan.others)
    index = FileIndex(os.path.dirname(root) if is_list else root, scan.names)
    if is_list and not any(os.path.exists(index.path(i)) for i in range(len(index))):
        raise UsageError(
            f"None of the {len(index)} files that the list {root} names exists; the first is {index.path(0)}: write "
            "absolute paths, or paths relative to the list's own folder."
        )
    return index


def _scan_list(path: str) -> _Scan:
    began, state = time.time_ns(), _state_of(path)
    try:
        content = read_file(path)
    except OSError as error:
        raise _cannot_read(path, error) from error
    if b"\0" in content:  # no name has one, and UTF-16 is full of them
        raise UsageError(f"The list {path} is not text in UTF-8: save it so, with one path per line.")
    lines = content.removeprefix(codecs.BOM_UTF8).splitlines()
    stripped = (line.strip() for line in lines)
    names = [os.path.normpath(line) for line in stripped if line and not line.startswith(b"#")]
    if not names:
        raise UsageError(f"The list {path} names no file: write one path per line.")
    return _Scan(Names.of(names), Counter(), Names.of([os.fsencode(path)]), np.array([state], np.int64), began)


def _scan_folder(root: str) -> _Scan:
    began, top = time.time_ns(), os.fsencode(root)
    extensions = tuple(extension.encode() for extension in IMAGE_EXTENSIONS)
    names: list[bytes] = []
    states: dict[bytes, tuple[int, int]] = {}
    others: Counter[str] = Counter()
    visited: set[tuple[int, int]] = set()
    pending = deque([b""])
    while pending:
        folder = pending.pop()
        path = os.path.join(top, folder)
        state, identity, entries = _read_folder(path)
        if identity in visited:
            continue
        visited.add(identity)
        states[path] = state
        for entry in entries:
            name = os.path.join(folder, entry.name)
            if is_folder(entry):
                # Links wait until all real folders are done, so that a file is found under its own name.
                pending.appendleft(name) if entry.is_symlink() else pending.append(name)
            elif _is_image(path, entry.name, extensions):
                names.append(name)
            else:
                ending = ending_of(os.fsdecode(name))
                others[ending or "no extension"] += 1
    if not names:
        raise UsageError(_nothing_found(root, others))
    return _Scan(
        Names.of(sorted(names)), others, Names.of(list(states)), np.array(list(states.values()), np.int64), began
    )


def _is_image(folder: bytes, name: bytes, extensions: tuple[bytes, ...]) -> bool:
    if name.lower().endswith(extensions):
        return True
    return not ending_of(os.fsdecode(name)) and looks_like_image(read_head(os.path.join(folder, name), HEAD_BYTES))


def is_folder(entry: os.DirEntry[Any]) -> bool:
    """Return whether an entry is a folder or a link to one; a link that leads in a circle is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _read_folder(path: bytes) -> tuple[tuple[int, int], tuple[int, int], list[os.DirEntry[Any]]]:
    """Return the folder's state, what identifies it, and its entries sorted; hidden ones are left out."""
    try:
        # Before its entries: a change in between then makes the cache stale, not wrong.
        status = os.stat(path)
        with os.scandir(path) as entries:
            found = [e for e in entries if not e.name.startswith(b".") and e.name != b"lost+found"]
    except OSError as error:
        raise _cannot_read(os.fsdecode(path), error) from error
    found.sort(key=lambda e: e.name, reverse=True)
    return (status.st_mtime_ns, 0), (status.st_dev, status.st_ino), found


def _cache_path(root: str, cache_dir: str | Path | None) -> Path:
    user_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(cache_dir) if cache_dir else Path(user_cache, "maetool", "index")
    return folder / f"{hashlib.sha256(os.fsencode(root)).hexdigest()[:32]}.npz"


def _load(cache: Path) -> _Scan | None:
    try:
        arrays = read_npz(cache)
        if str(arrays["format"]) != _FORMAT:
            return None
        names, sources = (
            Names.checked(arrays[f"{what}_blob"], arrays[f"{what}_offsets"]) for what in ("name", "source")
        )
        states, began = arrays["states"], arrays["began_ns"]
        if states.shape != (len(sources), 2) or {states.dtype, began.dtype} != {np.dtype(np.int64)} or began.ndim:
            return None
        others = Counter({str(ending): int(count) for ending, count in json.loads(str(arrays["others"])).items()})
        return _Scan(names, others, sources, states, int(began))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # absent, damaged or of another program: it is written anew


def _save(scan: _Scan, cache: Path) -> None:
    arrays: dict[str, Any] = {
        "format": np.array(_FORMAT),
        "others": np.array(json.dumps(scan.others)),
        "name_blob": scan.names.blob,
        "name_offsets": scan.names.offsets,
        "source_blob": scan.sources.blob,
        "source_offsets": scan.sources.offsets,
        "states": scan.states,
        "began_ns": np.array(scan.began_ns),
    }
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        # Another process may read or write the same cache, so it appears complete or not at all.
        with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
            np.savez(Path(folder, cache.name), **arrays)
            os.replace(Path(folder, cache.name), cache)
    except OSError as error:
        _logger.warning("The list of files cannot be cached in %s (%s); the next start searches again.", cache, error)


def _tell_of_others(root: str, others: Counter[str]) -> None:
    if others:
        line, matters = describe_others(root, others)
        (_logger.warning if matters else _logger.info)(printable(line))


def _nearest_parent(path: str) -> str:
    parent = os.path.dirname(path)
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    return f" (the nearest folder that exists is {parent})"


def _nothing_found(root: str, others: Counter[str]) -> str:
    found = ", ".join(f"{count} x {ending}{hint_for(ending)}" for ending, count in others.most_common(5))
    found = found or "no files at all"
    return f"No image in {root}: found {found}; expected {', '.join(IMAGE_EXTENSIONS)}: {_HOW_TO_SET}."


def _cannot_read(path: str, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be read ({error.strerror}): give yourself permission, or choose other data.")


__getattr__ = moved(__name__, {"Files": "maetool.data.sources.base.Source"}, "0.3.0")
