"""Files on other machines, by fsspec: lists of them, parts of them, and one sentence for what goes wrong."""

import io
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from maetool.data.codecs.endings import IMAGE_EXTENSIONS
from maetool.data.codecs.images import UnreadableImage
from maetool.errors import UsageError

from .extras import need
from .packed.members import ARCHIVE_ENDINGS
from .secrets import warn_of_secrets, with_variables
from .urls import NUMBERS, numbered

_ATTEMPTS, _PAUSE = 3, 0.2  # seconds before the second attempt, and four times as long before the third
_PATIENCE = 5.0  # seconds: a file system that took longer has tried again by itself
_VERSIONS = (
    "ETag",
    "etag",
    "Content-MD5",
    "md5Hash",
    "generation",
    "blob_id",
    "LastModified",
    "Last-Modified",
    "mtime",
)
_GLOB = re.compile(r"[*?\[]")
# Libraries of places need not be installed here, so their errors are known by name.
_CAUSES = (
    (
        {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "LocalTokenNotFoundError"},
        "no credentials were found ({}); set them in the environment as the place's own tools expect it, or "
        "options=dict(anon=True) for a public place",
    ),
    ({"PermissionError", "GatedRepoError"}, "access is denied ({}); check credentials and permissions"),
    ({"FileNotFoundError", "EntryNotFoundError", "RepositoryNotFoundError"}, "it is not there ({})"),
    ({"ImportError"}, "a package is missing ({}); pip install it"),
)
_STARTED_IN = [os.getpid()]
_FINAL = {"IsADirectoryError"}.union(*(kinds for kinds, _ in _CAUSES))


class RemoteFile(NamedTuple):
    """A file on another machine.

    Attributes:
        name: its path below the URL of its system.
        place: what fsspec calls it.
        size: bytes, -1 where the place does not tell.
        version: changes with the content, such as an ETag; "" where the place does not tell.
    """

    name: str
    place: str
    size: int
    version: str


class RemoteSystem:
    """The files at a URL; each process opens a connection of its own.

    Args:
        url: a folder, a file, or a pattern of files: `*` and `?` stand for anything, `{000..146}` for these numbers.
        options: what fsspec's file system is built with, such as `dict(anon=True)`; `${NAME}` in a text stands for that
            environment variable.

    Attributes:
        root: the folder that names start from.

    Raises:
        UsageError: fsspec is not installed.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        need("fsspec", f"Reading {url}")
        self.url, self.options = str(url).rstrip("/"), dict(options or {})
        warn_of_secrets(self.options)
        sign = min((m.start() for m in (_GLOB.search(self.url), NUMBERS.search(self.url)) if m), default=None)
        self._is_file = sign is None and self.url.lower().endswith((*IMAGE_EXTENSIONS, *ARCHIVE_ENDINGS))
        self.root = self.url[:sign].rpartition("/")[0] if sign or self._is_file else self.url
        self._opened: tuple[int, Any, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def files(self) -> list[RemoteFile]:
        """Return the files below the URL, or those of the pattern, by name; a file alone is one.

        Raises:
            UsageError: they cannot be listed.
        """
        try:
            system, root = self._connected()
            pattern = root + self.url[len(self.root) :]
            if self._is_file or NUMBERS.search(pattern):
                found = {place: system.info(place) for place in numbered(pattern)}
            else:
                found = (system.glob if _GLOB.search(pattern) else system.find)(pattern, detail=True)
        except UsageError:
            raise
        except Exception as error:  # of the file system, or a package that it needs
            raise UsageError(f"{self.url} cannot be listed: {cause_of(error)}.") from error
        found = {place: facts for place, facts in found.items() if facts.get("type", "file") == "file"}
        return sorted(_file(_name_below(root, place), place, facts) for place, facts in found.items())

    def described(self, file: RemoteFile) -> RemoteFile:
        """Return a file with its size and version, asked for where the list did not have them.

        Raises:
            UsageError: it cannot be asked for.
        """
        if file.size >= 0 and file.version:
            return file
        try:
            return _file(file.name, file.place, self._connected()[0].info(file.place))
        except Exception as error:
            raise UsageError(f"{file.place} cannot be read: {cause_of(error)}.") from error

    def open(self, file: RemoteFile, block: int) -> io.BufferedReader:
        """Return a file of known size that is read in blocks of `block` bytes; it raises what `read` raises."""
        return io.BufferedReader(_Parts(self, file), block)

    def read(self, file: RemoteFile, count: int, offset: int, name: str) -> bytes:
        """Return up to `count` bytes at `offset` of a file.

        Args:
            file: one of `files`.
            count, offset: bytes.
            name: what to call it in a message.

        Raises:
            UnreadableImage: they cannot be had, or are not as many as the file should have, in three attempts.
        """
        expected = count if file.size < 0 else max(0, min(count, file.size - offset))
        began, reason = time.monotonic(), ""
        for attempt in range(_ATTEMPTS):
            try:
                data = self._part(file.place, file.size, count, offset)
                if file.size < 0 or len(data) == expected:
                    return data
                reason = f"{len(data):,} bytes came, but it had {expected:,} when it was listed"
            except Exception as error:  # of the file system: gone, forbidden, no network
                reason = cause_of(error)
                if _kinds(error) & _FINAL:
                    break
            if attempt + 1 == _ATTEMPTS or time.monotonic() - began > _PATIENCE:
                break
            time.sleep(_PAUSE * 4**attempt)
        raise UnreadableImage(name, f"it cannot be downloaded: {reason}")

    def _part(self, place: str, size: int, count: int, offset: int) -> bytes:
        system, _ = self._connected()
        if place.startswith("http"):  # a server that knows no parts of files would send all of it at once
            with system.open(place, "rb", cache_type="none", **({"size": size} if size > 0 else {})) as file:
                if offset:
                    file.seek(offset)
                return bytes(file.read(count))
        return bytes(system.cat_file(place, start=offset, end=offset + count))

    def _connected(self) -> tuple[Any, str]:
        """Return file system and place of `root`; one for each process, because its threads do not survive a fork."""
        import fsspec

        if self._opened is None or self._opened[0] != os.getpid():
            _forget_threads()
            system, place = fsspec.core.url_to_fs(self.root, **with_variables(self.options), skip_instance_cache=True)
            self._opened = (os.getpid(), system, place.rstrip("/"))
        return self._opened[1:]


class _Parts(io.RawIOBase):
    """A file of a system, for `io.BufferedReader`."""

    def __init__(self, system: RemoteSystem, file: RemoteFile) -> None:
        self._system, self._file, self._at = system, file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._file.size - self._at))
        data = (
            self._system.read(self._file, count, self._at, f"{self._system.root}/{self._file.name}") if count else b""
        )
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class RemoteFiles:
    """Reads at places of some files of a system.

    Args:
        system: where they are.
        files: of `RemoteSystem.files`.
    """

    def __init__(self, system: RemoteSystem, files: Sequence[RemoteFile]) -> None:
        self.system, self.files = system, list(files)
        self.paths: Sequence[str] = [f"{system.root}/{file.name}" for file in self.files]

    def read(self, number: int, count: int, offset: int) -> bytes:
        """Return up to `count` bytes at `offset` of file `number`.

        Raises:
            UnreadableImage: see `RemoteSystem.read`.
        """
        return self.system.read(self.files[number], count, offset, self.paths[number])


def _forget_threads() -> None:
    """Let fsspec start its thread anew in a process that was forked, which older versions of it wait for in vain."""
    import fsspec.asyn

    if _STARTED_IN[-1] != os.getpid():
        _STARTED_IN.append(os.getpid())
        fsspec.asyn.reset_lock()


def cause_of(error: BaseException) -> str:
    """Return what went wrong in words, from an error of fsspec or of a library under it."""
    text = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    words = (words for kinds, words in _CAUSES if kinds & _kinds(error))
    return next(words, f"{type(error).__name__}: {{}}").format(text)


def _kinds(error: BaseException) -> set[str]:
    status = {401: "PermissionError", 403: "PermissionError", 404: "FileNotFoundError"}  # of HTTP
    of_status = status.get(getattr(error, "status", 0), "")
    return {kind.__name__ for kind in type(error).__mro__} | ({of_status} if of_status else set())


def _name_below(root: str, place: str) -> str:
    return place[len(root) + 1 :] if place.startswith(f"{root}/") else place.rpartition("/")[2]


def _file(name: str, place: str, facts: Mapping[str, Any]) -> RemoteFile:
    size = facts.get("size")
    version = next((str(facts[key]) for key in _VERSIONS if facts.get(key)), "")
    return RemoteFile(name, place, -1 if size is None else int(size), version)
