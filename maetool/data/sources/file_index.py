"""Which files a dataset has: found in a folder or read from a list once, and remembered in a cache."""

import codecs
import json
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
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
from maetool.reading import MOST_BYTES, read_file, read_head

from .array_cache import Dependencies, cache_of, load_arrays, names_in, save_arrays, state_of
from .base import Source
from .packed.names import Names
from .urls import refuse_url

LIST_EXTENSIONS = (".txt", ".lst", ".list")

_logger = logging.getLogger("maetool")
_FORMAT = f"2 {' '.join(IMAGE_EXTENSIONS)}"
# Of every command: some take a folder alone, some as --data, and some have no config.
HOW_TO_SET = (
    "pass the path of your images, in a training by --data FOLDER or by train_dataloader.dataset.root in its config"
)


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
    """What a search found, and how many files of each ending it passed over."""

    names: Names
    others: Counter[str]


def refuse_missing(root: str | Path) -> str:
    """Return the absolute path of a folder or file.

    Args:
        root: its path; `~` is the home folder.

    Raises:
        UsageError: there is nothing.
    """
    path = os.path.abspath(os.path.expanduser(root))
    if not os.path.exists(path):
        raise UsageError(f"There is no data at {path}{_nearest_parent(path)}: {HOW_TO_SET}.")
    return path


def index_files(root: str | Path, cache_dir: str | Path | None = None) -> FileIndex:
    """Return the image files below the folder `root`, those that the text list `root` names, or the image `root`.

    A folder is searched to any depth; symbolic links to folders are followed, each folder is visited once, and hidden
    entries are skipped. Files without an ending count by their first bytes; those of other endings are passed over, and
    a line of the log counts them. A list has one path a line, absolute or relative to the list's folder; blank lines
    and lines that begin with # are ignored. The result is cached, and found again without a search while no folder has
    changed.

    Args:
        root: the folder, the list or the image.
        cache_dir: where to keep the cache; by default `maetool/index` in the user's cache folder.

    Raises:
        UsageError: nothing there, nothing that is an image, or something that may not be read.
    """
    refuse_url(root, "The folder or list of images")
    root = refuse_missing(root)
    is_list = not os.path.isdir(root)
    if is_list and root.lower().endswith(IMAGE_EXTENSIONS):
        return FileIndex(os.path.dirname(root), Names.of([os.fsencode(os.path.basename(root))]))
    if is_list and not root.lower().endswith(LIST_EXTENSIONS):
        raise UsageError(
            f"{root} is a single file, and no image by its ending; expected a folder of images, or a text list "
            f"({', '.join(LIST_EXTENSIONS)}) with one path per line: {HOW_TO_SET}."
        )
    cache = cache_of(root, cache_dir)
    scan = _load(cache)
    if scan is None:
        scan, dependencies = _scan_list(root) if is_list else _scan_folder(root)
        arrays = {"name": scan.names, "others": np.array(json.dumps(scan.others))}
        save_arrays(cache, _FORMAT, dependencies, arrays)
    _tell_of_others(root, scan.others)
    index = FileIndex(os.path.dirname(root) if is_list else root, scan.names)
    if is_list and not any(os.path.exists(index.path(i)) for i in range(len(index))):
        raise UsageError(
            f"None of the {len(index)} files that the list {root} names exists; the first is {index.path(0)}: write "
            "absolute paths, or paths relative to the list's own folder."
        )
    return index


def _scan_list(path: str) -> tuple[_Scan, Dependencies]:
    began, state = time.time_ns(), state_of(path)
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
    return _Scan(Names.of(names), Counter()), Dependencies.of({os.fsencode(path): state}, began)


def _scan_folder(root: str) -> tuple[_Scan, Dependencies]:
    began, top = time.time_ns(), os.fsencode(root)
    extensions = tuple(extension.encode() for extension in IMAGE_EXTENSIONS)
    names: list[bytes] = []
    states: dict[bytes, tuple[int, int]] = {}
    others: Counter[str] = Counter()
    for folder, entry in walk(root, states):
        name = os.path.join(folder, entry.name)
        if _is_image(os.path.join(top, folder), entry.name, extensions):
            names.append(name)
        else:
            ending = ending_of(os.fsdecode(name))
            others[ending or "no extension"] += 1
    if not names:
        raise UsageError(_nothing_found(root, others))
    return _Scan(Names.of(sorted(names)), others), Dependencies.of(states, began)


def walk(root: str, states: dict[bytes, tuple[int, int]]) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
    """Yield every entry at any depth below a folder that is no folder, with its folder as seen from `root`.

    Symbolic links to folders are followed, each folder is visited once, and hidden entries are skipped.

    Args:
        root: the folder.
        states: the state of each folder that is visited is entered, see `array_cache.state_of`.

    Raises:
        UsageError: a folder may not be read.
    """
    visited: set[tuple[int, int]] = set()
    pending = deque([b""])
    while pending:
        folder = pending.pop()
        path = os.path.join(os.fsencode(root), folder)
        state, identity, entries = _read_folder(path)
        if identity in visited:
            continue
        visited.add(identity)
        states[path] = state
        for entry in entries:
            if is_folder(entry):
                name = os.path.join(folder, entry.name)
                # Links wait until all real folders are done, so that a file is found under its own name.
                pending.appendleft(name) if entry.is_symlink() else pending.append(name)
            else:
                yield folder, entry


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
            visible = [e for e in entries if not e.name.startswith(b".") and e.name != b"lost+found"]
    except OSError as error:
        raise _cannot_read(os.fsdecode(path), error) from error
    visible.sort(key=lambda e: e.name, reverse=True)
    return (status.st_mtime_ns, 0), (status.st_dev, status.st_ino), visible


def _load(cache: Path) -> _Scan | None:
    arrays = load_arrays(cache, _FORMAT)
    if arrays is None:
        return None
    try:
        others = {str(ending): int(count) for ending, count in json.loads(str(arrays["others"])).items()}
        return _Scan(names_in(arrays, "name"), Counter(others))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # of another program: it is written anew


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
    endings = ", ".join(f"{count} x {ending}{hint_for(ending)}" for ending, count in others.most_common(5))
    endings = endings or "no files at all"
    return f"No image in {root}: found {endings}; expected {', '.join(IMAGE_EXTENSIONS)}: {HOW_TO_SET}."


def _cannot_read(path: str, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be read ({error.strerror}): give yourself permission, or choose other data.")


__getattr__ = moved(__name__, {"Files": "maetool.data.sources.base.Source"}, "0.3.0")
