"""Zip and tar archives on a disk or on another machine, and the table of what is in them."""

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np

from maetool.data.codecs.images import UnreadableImage
from maetool.errors import UsageError

from ..array_cache import Dependencies, cache_of, load_arrays, names_in, save_arrays, state_of
from ..remote_system import RemoteFile, RemoteFiles, RemoteSystem
from ..urls import is_url, numbered
from .members import ARCHIVE_ENDINGS, Member, members_in
from .names import Names
from .open_files import OpenFiles, ReadsAtPlaces

_FORMAT = "archives 2"
_WORTH_KEEPING = 2**26  # bytes of archives whose table is read again in no time
_BLOCK = 2**20  # of a remote tar file, in which headers stand between the images: larger images are skipped
_AT_ONCE = 16


@dataclass(frozen=True)
class ArchiveTable:
    """The files in some archives.

    Attributes:
        names: their paths inside, N.
        columns: int64 (N, 6): the number of the archive, and kind, offset, packed, size and crc of `Member`.
        contents: those of small files, N.
    """

    names: Names
    columns: np.ndarray
    contents: Names

    @classmethod
    def of(cls, members: Sequence[Sequence[Member]]) -> "ArchiveTable":
        """Pack the members of each archive."""
        columns = [(number, *member[1:6]) for number, each in enumerate(members) for member in each]
        names = Names.of([os.fsencode(member.name) for each in members for member in each])
        contents = Names.of([member.content for each in members for member in each])
        return cls(names, np.array(columns, np.int64).reshape(-1, 6), contents)

    @classmethod
    def checked(cls, arrays: Mapping[str, np.ndarray], archives: int) -> "ArchiveTable":
        """Return the table in the arrays of a cache.

        Raises:
            KeyError, ValueError: it is not one of so many archives.
        """
        names, columns, contents = names_in(arrays, "name"), arrays["columns"], names_in(arrays, "content")
        if columns.dtype != np.int64 or columns.shape != (len(names), 6) or len(contents) != len(names):
            raise ValueError("the columns are of another shape or type")
        if (columns[:, :5] < 0).any() or (columns[:, 0] >= archives).any():
            raise ValueError("the columns point outside of the archives")
        return cls(names, columns, contents)

    def __len__(self) -> int:
        return len(self.names)

    def member(self, row: int) -> tuple[int, Member]:
        """Return the number of the archive of the file in a `row`, and the file."""
        number, kind, offset, packed, size, crc = self.columns[row].tolist()
        content = os.fsencode(self.contents[row])
        return number, Member(self.names[row], kind, offset, packed, size, crc, content)


class Archives:
    """Some archives; what is in them is read once and remembered.

    Attributes:
        root: the folder that they are in, or on a disk the archive if it is one alone.
        paths: where they are, sorted.
        files: reads them.
        remote: facts of those on another machine, one for each; None on this one.
    """

    root: str
    paths: Sequence[str]
    files: ReadsAtPlaces
    remote: Sequence[RemoteFile] | None = None

    def table(self) -> ArchiveTable:
        """Return what is in them, from a cache where it is there and they are unchanged.

        Raises:
            UsageError: a damaged archive, or one that must be unpacked.
        """
        cache, dependencies = self._cache()
        arrays = load_arrays(cache, _FORMAT) if cache else None
        try:
            return ArchiveTable.checked(arrays or {}, len(self.paths))
        except (KeyError, ValueError):
            pass  # there is none, or one of another program
        table = ArchiveTable.of(self._members())
        if cache:
            made = {"name": table.names, "columns": table.columns, "content": table.contents}
            save_arrays(cache, _FORMAT, dependencies, made)
        return table

    def _members(self) -> list[list[Member]]:
        return [members_in(path) for path in self.paths]

    def _cache(self) -> tuple[Path | None, Dependencies]:
        raise NotImplementedError


class LocalArchives(Archives):
    """Archives on a disk.

    Args:
        root: one, a folder of such, or a pattern with `*` or `{000..146}`.

    Raises:
        UsageError: there is none.
    """

    def __init__(self, root: str | Path) -> None:
        place = os.path.abspath(os.path.expanduser(root))
        found = [path for name in numbered(place) for path in sorted(glob(name))] if _is_pattern(place) else None
        self.paths = archives_at(place) if found is None else found
        if not self.paths:
            raise UsageError(f"There is no archive {place}: no file is named so; check the pattern.")
        self.root = place if found is None else os.path.dirname(place)
        self.files = OpenFiles(self.paths)

    def _cache(self) -> tuple[Path | None, Dependencies]:
        began = time.time_ns()
        states = {os.fsencode(path): state_of(path) for path in self.paths}
        large = sum(size for _, size in states.values()) > _WORTH_KEEPING
        return cache_of(f"archives {self.paths}") if large else None, Dependencies.of(states, began)


class RemoteArchives(Archives):
    """Archives on another machine, of which only the parts that are asked for are downloaded.

    Args:
        url: of one, of a folder of such, or a pattern with `*` or `{000..146}`.
        options: what fsspec's file system is built with.

    Raises:
        UsageError: fsspec is not installed, they cannot be listed, or there is none.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self._system = RemoteSystem(url, options)
        self.root = self._system.root
        inside = [file for file in self._system.files() if "/" not in file.name]
        found = [file for file in inside if file.name.lower().endswith(ARCHIVE_ENDINGS)]
        if not found:
            raise UsageError(
                f"There is no archive at {url}: expected a file that ends in {', '.join(ARCHIVE_ENDINGS)}, or a "
                "folder of such."
            )
        self.remote: list[RemoteFile] = self._for_each(self._system.described, found)
        self.files = RemoteFiles(self._system, self.remote)
        self.paths = self.files.paths

    def _for_each(self, do: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(do, items))

    def _members(self) -> list[list[Member]]:
        return self._for_each(self._members_of, range(len(self.paths)))

    def _members_of(self, number: int) -> list[Member]:
        path = self.paths[number]
        try:
            with self._system.open(self.remote[number], _BLOCK) as file:
                return members_in(path, file)
        except UnreadableImage as error:
            raise UsageError(f"{error}.") from error

    def _cache(self) -> tuple[Path | None, Dependencies]:
        if not all(file.version and file.size >= 0 for file in self.remote):
            return None, Dependencies.of({}, 0)  # nothing would show that they changed
        facts = "\n".join(f"{file.place} {file.size} {file.version}" for file in self.remote)
        return cache_of(f"archives {hashlib.sha256(facts.encode()).hexdigest()}"), Dependencies.of({}, 0)


def open_archives(root: str | Path, options: Mapping[str, Any] | None = None) -> Archives:
    """Return the archives at a place: one, those directly in a folder, or those of a pattern.

    Args:
        root: path, folder, pattern or URL.
        options: of fsspec's file system, for URLs.

    Raises:
        UsageError: there is none.
    """
    return RemoteArchives(str(root), options) if is_url(root) else LocalArchives(root)


def archives_at(root: str) -> list[str]:
    """Return the archive at `root`, or those directly in the folder, sorted.

    Raises:
        UsageError: there is none, or one of another kind.
    """
    if os.path.isdir(root):
        found = sorted(entry.path for entry in os.scandir(root) if entry.name.lower().endswith(ARCHIVE_ENDINGS))
    else:
        found = [root] if root.lower().endswith(ARCHIVE_ENDINGS) else []
    if not found or not all(map(os.path.exists, found)):
        packed = root.lower().endswith((".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"))
        cure = "unpack it, or pack it again as zip or as tar without compression" if packed else "check the path"
        raise UsageError(
            f"There is no archive at {root}: expected a file that ends in {', '.join(ARCHIVE_ENDINGS)}, or a folder "
            f"of such; {cure}."
        )
    return found


def _is_pattern(place: str) -> bool:
    return not os.path.exists(place) and (any(sign in place for sign in "*?[") or len(numbered(place)) > 1)
