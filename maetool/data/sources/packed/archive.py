"""The images in zip and tar archives, read in place."""

import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from maetool.data.codecs.endings import IMAGE_EXTENSIONS
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from ..base import Source
from ..disk_cache import DiskCache
from ..part_names import parts_of
from ..urls import refuse_without_url
from .archives import Archives, ArchiveTable, open_archives
from .members import read_member
from .names import Names


class MemberSource(Source):
    """Images that are files in archives, here or on another machine."""

    def _hold(
        self,
        archives: Archives,
        table: ArchiveTable,
        rows: np.ndarray,
        names: Iterable[str],
        cache: str | Path | None,
        cache_bytes: int | None,
    ) -> None:
        """Keep where the images are in flat arrays, which processes share.

        Args:
            archives: where they are.
            table: of the archives.
            rows: the images in the table, int64 (N,).
            names: of the images.
            cache, cache_bytes: see `RemoteSource`.
        """
        self.root, self.archives, self._files, self._remote = (
            archives.root,
            archives.paths,
            archives.files,
            archives.remote,
        )
        self._table, self._rows = table, rows
        self._names = Names.of([os.fsencode(name) for name in names])
        self._cache: DiskCache | None = None
        if self._remote is not None:
            keys, sizes = map(self._key, range(len(rows))), table.columns[rows, 4]
            self._cache = DiskCache(cache, archives.root, keys, sizes, cache_bytes)

    def __len__(self) -> int:
        return len(self._names)

    def relative(self, index: int) -> str:
        """Return the path of image `index` in its archive."""
        return self._names[index]

    def path(self, index: int) -> str:
        """Return archive and name of image `index`, for messages."""
        return f"{self.archives[self._table.columns[self._rows[index], 0]]}:{self.relative(index)}"

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return archive and name of image `index`, and its bytes.

        Raises:
            UnreadableImage: it is damaged, the archive changed, or it has more than `most` bytes.
        """
        number, member = self._table.member(int(self._rows[index]))
        path = self.path(index)
        if self._cache is None or member.size > most:
            return path, read_member(self._files, number, member, path, most)
        load = partial(read_member, self._files, number, member, path, most)
        return path, self._cache.get(index, self._key(index), load)

    def _key(self, index: int) -> str:
        """Return what an image of another machine is kept by."""
        number, member = self._table.member(int(self._rows[index]))
        archive = self._remote[number] if self._remote else None
        return f"{archive}{member}"


@SOURCES.register_module()
class ArchiveSource(MemberSource):
    """The images in a zip or tar archive, or in all of a folder, read in place.

    An archive counts as the folder that was packed: class folders in it are classes, below folders that all images
    share. Of several archives each is a folder of its name, as those of ImageNet's classes, unless they are numbered
    one after the other; those that name parts, such as `train.zip` or `train-000.tar`, are folders of their part, see
    `PartSource`. A tar file must not be compressed, because it could then only be read from its beginning.

    Args:
        root: the archive, a folder of archives, or a pattern with `*` or `{000..146}`; or the URL of such, of which
            then only the images are downloaded. What is in a tar file at a URL is known after it was read once.
        cache, options, cache_bytes: of a URL, see `RemoteSource`.

    Raises:
        UsageError: no archive, a damaged one, one that must be unpacked, or no image in it.
    """

    files_in: ClassVar[str | None] = "root"

    def __init__(
        self,
        root: str | Path,
        cache: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        refuse_without_url(root, cache=cache, options=options, cache_bytes=cache_bytes)
        archives = open_archives(root, options)
        table = archives.table()
        rows = np.array([row for row in range(len(table)) if _is_image(table.names[row])], np.int64)
        if not len(rows):
            raise UsageError(
                f"No image in {root}: expected archives of files that end in {', '.join(IMAGE_EXTENSIONS)}."
            )
        numbers = table.columns[rows, 0]
        inside = [[table.names[row] for row in rows[numbers == n]] for n in range(len(archives.paths))]
        names = [name for each in _folders_of(archives.paths, inside) for name in each]
        self._hold(archives, table, rows, names, cache, cache_bytes)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_EXTENSIONS)


def _folders_of(archives: Sequence[str], inside: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the name of each image in the folder that its archive stands for."""
    stems = [os.path.splitext(os.path.basename(path))[0] for path in archives]
    parts = parts_of(stems)
    numbered = are_numbered(stems) if parts is None else all(stem[-1:].isdigit() for stem in stems)
    own = len(archives) > 1 and not numbered
    names = []
    for place, (stem, each) in enumerate(zip(stems, inside, strict=True)):
        plain = _without_shared(each) if own or len(archives) == 1 else list(each)
        folder = parts[place] if parts else stem
        names.append([f"{folder}/{name}" for name in plain] if own or parts else plain)
    if len({name for each in names for name in each}) < sum(map(len, names)):
        return [[f"{stem}/{name}" for name in each] for stem, each in zip(stems, names, strict=True)]
    return names


def _without_shared(names: Sequence[str]) -> list[str]:
    """Return names without the folders that all of them lie in."""
    shared = posixpath.commonpath(["/" + posixpath.dirname(name) for name in names]) if names else "/"
    return [name[len(shared.lstrip("/")) :].lstrip("/") for name in names]


def are_numbered(stems: Sequence[str]) -> bool:
    """Return whether `stems` are one word with consecutive numbers, as the names of shards are."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", stem) for stem in stems]
    if not all(parts):
        return False
    numbers = sorted(int(part[2]) for part in parts if part)
    words = {(part[1], part[3]) for part in parts if part}
    return len(words) == 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
