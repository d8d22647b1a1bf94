"""Files that stay open between reads, in any number of processes, forked or not."""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from maetool.compat import read_at

_OPEN_AT_ONCE = 128  # far below the usual limit of 1024 files of a process


class ReadsAtPlaces(Protocol):
    """Some files that are read at places.

    Attributes:
        paths: what they are called.
    """

    paths: Sequence[str]

    def read(self, number: int, count: int, offset: int) -> bytes:
        """Return up to `count` bytes at `offset` of file `number`.

        Raises:
            OSError, UnreadableImage: they cannot be read.
        """
        ...


class OpenFiles:
    """Reads at places of some files; each read names its place, so that processes do not disturb each other.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self._forget()

    def _forget(self) -> None:
        self._open: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def read(self, number: int, count: int, offset: int) -> bytes:
        """Return up to `count` bytes at `offset` of file `number`.

        Raises:
            OSError: it cannot be read.
        """
        return read_at(self._file(number).fileno(), count, offset)

    def _file(self, number: int) -> Any:
        with self._lock:
            file = self._open.pop(number, None)
            if file is None:
                flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # no wait for a pipe
                file = os.fdopen(os.open(self.paths[number], flags), "rb", buffering=0)
            self._open[number] = file
            if len(self._open) > _OPEN_AT_ONCE:
                self._open.popitem(last=False)  # closed with its last reference, so not under a reader
            return file
