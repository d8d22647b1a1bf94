"""Image files on other machines, by fsspec, with a cache on the disk."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from maetool.data.codecs.endings import IMAGE_EXTENSIONS
from maetool.data.codecs.image_size import RAISE_LIMIT
from maetool.data.codecs.images import UnreadableImage
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from .base import Source
from .disk_cache import DiskCache
from .made import checked
from .packed.names import Names
from .remote_system import RemoteFile, RemoteSystem


@SOURCES.register_module()
class RemoteSource(Source):
    """The image files below a URL, each downloaded when it is first read, and then kept on the disk.

    What is listed at the start is what is read: a file whose size or version changed since counts as broken, or is
    downloaded anew by the next run.

    Args:
        root: a URL that fsspec knows, such as `s3://bucket/folder`, `gs://`, `hf://datasets/...` or `http://`; some
            need a package of their own, which fsspec names. It may be a pattern, with `*` or `{000..146}`.
        cache: folder for the downloaded files; several processes and runs may share it. None, `maetool/remote` in the
            user's cache folder.
        options: what the file system is built with, such as `dict(anon=True)`.
        cache_bytes: most bytes that are kept, of sets that are too large for the disk; what is not kept is downloaded
            each time. None, all; 0, nothing.

    Raises:
        UsageError: fsspec is not installed, the place cannot be listed, or there is no image.
    """

    files_in: ClassVar[str | None] = "root"

    def __init__(
        self,
        root: str,
        cache: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        self._system = RemoteSystem(root, options)
        self.root = self._system.root
        files = [file for file in self._system.files() if file.name.lower().endswith(IMAGE_EXTENSIONS)]
        if not files:
            raise UsageError(f"No image at {root}: expected files that end in {', '.join(IMAGE_EXTENSIONS)}.")
        self._names, self._places, self._versions = (
            Names.of([os.fsencode(text) for text in column])
            for column in zip(*((file.name, file.place, file.version) for file in files), strict=True)
        )
        self._sizes = np.array([file.size for file in files], np.int64)
        self._cache = DiskCache(cache, self.root, map(_key, files), self._sizes, cache_bytes)

    def __len__(self) -> int:
        return len(self._names)

    def relative(self, index: int) -> str:
        """Return the path of image `index` below the URL."""
        return self._names[index]

    def path(self, index: int) -> str:
        """Return the URL of image `index`."""
        return f"{self.root}/{self.relative(index)}"

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return the URL of image `index`, and its bytes, from the disk where they are kept.

        Raises:
            UnreadableImage: it cannot be downloaded, changed since the start, or has more than `most` bytes.
        """
        file, path = self._file(index), self.path(index)
        data = self._cache.get(index, _key(file), lambda: self._downloaded(file, path, most))
        return path, checked(data, path, most)

    def _file(self, index: int) -> RemoteFile:
        return RemoteFile(self._names[index], self._places[index], int(self._sizes[index]), self._versions[index])

    def _downloaded(self, file: RemoteFile, path: str, most: int) -> bytes:
        if file.size > most:
            raise UnreadableImage(
                path, f"it has {file.size:,} bytes, more than the {most:,} that are read: {RAISE_LIMIT}"
            )
        # A byte more shows a file that has grown.
        data = self._system.read(file, (most if file.size < 0 else file.size) + 1, 0, path)
        return checked(data, path, most)


def _key(file: RemoteFile) -> str:
    """Return what a file is kept by."""
    return "\0".join((file.name, file.version))
