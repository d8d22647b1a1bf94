"""The images in a folder of tar shards."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from maetool.data.codecs.images import UnreadableImage
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from ..disk_cache import DiskCache
from ..remote_system import RemoteFile, RemoteFiles, RemoteSystem
from ..urls import is_url, refuse_without_url
from .shards import TABLE, ShardFiles, ShardTable


@SOURCES.register_module()
class ShardSource(ShardFiles):
    """The images in a folder of shards that `maetool prepare_dataset` wrote, read by offset.

    Their classes are the first folders of their names.

    Args:
        root: the folder, or its URL, of which then only the table and the images are downloaded.
        cache, options, cache_bytes: of a URL, see `RemoteSource`.

    Raises:
        UsageError: shards that are missing, damaged or not complete.
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
        self._cache: DiskCache | None = None
        if not is_url(root):
            super().__init__(ShardTable.load(root))
            return
        system = RemoteSystem(str(root), options)
        table, files = _remote_table(system)
        super().__init__(table, RemoteFiles(system, files))
        self._versions = [file.version for file in files]
        self._cache = DiskCache(cache, system.root, map(self._key, range(len(self))), table.size, cache_bytes)

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return the shard and name of image `index` and its bytes.

        Raises:
            UnreadableImage: see `ShardFiles.read`; or it cannot be downloaded.
        """
        if self._cache is None or self.table.size[index] > most:
            return super().read(index, most)
        load = partial(super().read, index, most)
        return self.path(index), self._cache.get(index, self._key(index), lambda: load()[1])

    def _key(self, index: int) -> str:
        """Return what an image of another machine is kept by."""
        number = int(self.table.shard[index])
        return f"{self.table.shards[number]} {self._versions[number]} {self.table.offset[index]}"


def _remote_table(system: RemoteSystem) -> tuple[ShardTable, list[RemoteFile]]:
    """Return the table of shards on another machine, and the shards.

    Raises:
        UsageError: there is none, it is damaged, or shards are missing or of another size.
    """
    there = {file.name: file for file in system.files()}
    if TABLE not in there:
        raise UsageError(f"{system.root} has no {TABLE}, so its shards are not complete: copy the folder again.")

    def content() -> bytes:
        file = system.described(there[TABLE])
        try:
            return system.read(file, MOST_BYTES if file.size < 0 else file.size, 0, f"{system.root}/{TABLE}")
        except UnreadableImage as error:
            raise UsageError(f"{error}.") from error

    def size_of(name: str) -> int | None:
        if name not in there:
            return None
        there[name] = system.described(there[name])
        return there[name].size

    table = ShardTable.read(system.root, content, size_of)
    return table, [there[name] for name in table.shards]
