"""The images in an LMDB, a key each."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from maetool.data.codecs.endings import looks_like_image
from maetool.data.codecs.images import UnreadableImage
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from ..base import Source
from ..extras import need
from ..made import checked
from ..urls import refuse_url
from .names import Names

_OPENED: dict[tuple[int, str], Any] = {}  # by process and place


@SOURCES.register_module()
class LmdbSource(Source):
    """The images in an LMDB: values are the bytes of image files, and the first folder of a key is the class.

    Values that do not begin as images do, such as a list of keys or a count, are passed over.

    Args:
        root: the folder, or the file, of the database.
        index_head: bytes of each value that are looked at; None, no value is, and every key is an image.

    Raises:
        UsageError: lmdb is not installed, no database, or no images in it.
    """

    files_in: ClassVar[str | None] = "root"

    def __init__(self, root: str | Path, index_head: int | None = 512) -> None:
        need("lmdb", "LmdbSource")
        refuse_url(root, "The LMDB")
        self.root = os.path.abspath(os.path.expanduser(root))
        if not os.path.exists(self.root):
            raise UsageError(f"There is no LMDB at {self.root}: pass its folder or its file.")
        keys = self._keys(index_head)
        if not keys:
            raise UsageError(f"{self.root} has no value that begins as images do: expected the bytes of image files.")
        self._names = Names.of(keys)

    def __len__(self) -> int:
        return len(self._names)

    def relative(self, index: int) -> str:
        """Return the key of image `index`."""
        return self._names[index]

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return path and key of image `index`, and its bytes.

        Raises:
            UnreadableImage: it is gone, or has more than `most` bytes.
        """
        path = self.path(index)
        try:
            with self._environment().begin(buffers=True) as reader:
                value = reader.get(os.fsencode(self._names[index]))
                if value is None:
                    raise UnreadableImage(path, "the database has no such key any more")
                if len(value) > most:
                    return path, checked(bytes(value[: most + 1]), path, most)
                return path, checked(bytes(value), path, most)
        except UnreadableImage:
            raise
        except Exception as error:  # lmdb.Error and what a damaged file makes it raise
            raise UnreadableImage(path, error) from error

    def _keys(self, head: int | None) -> list[bytes]:
        try:
            with self._environment().begin(buffers=True) as reader:
                entries: Sequence[Any] = reader.cursor()
                return [bytes(k) for k, v in entries if head is None or looks_like_image(bytes(v[:head]))]
        except Exception as error:
            raise UsageError(
                f"{self.root} cannot be read as an LMDB ({error}): pass its folder or its file."
            ) from error

    def _environment(self) -> Any:
        """Return the database, opened once in a process: lmdb refuses a second time, and one from before a fork."""
        import lmdb

        place = os.getpid(), self.root
        if place not in _OPENED:
            for earlier in [key for key in _OPENED if key[0] != place[0]]:
                _OPENED.pop(earlier)
            subdir = os.path.isdir(self.root)
            options = {"subdir": subdir, "readonly": True, "lock": False, "readahead": False, "create": False}
            _OPENED[place] = lmdb.open(self.root, **options)
        return _OPENED[place]
