"""Files that maetool writes: each is there completely or not at all, also after a power cut."""

import csv
import errno
import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from .errors import OutputError, tells_of_killed_loader

TEMPORARY = ".{name}.{process}.tmp"
_NAME_BYTES = 200  # of a temporary file's name, so that all of it has fewer than the 255 that a file system takes


def write_file(path: str | Path, content: bytes | Callable[[IO[bytes]], Any], durable: bool = True) -> None:
    """Write a file and the folders above it; at no time does a part of it have the file's name.

    A link is replaced, not followed. A device or a pipe, such as /dev/stdout, is written to directly.

    Args:
        path: the file.
        content: its bytes, or a function that writes them to a file that is open.
        durable: flush it to the disk; without, which is faster for thousands of files, a power cut may lose it.

    Raises:
        OutputError: the disk is full, or the place cannot be written; what was there is as it was.
    """
    path = Path(path)
    with failures_told(path):
        if _is_stream(path):
            path.write_bytes(_bytes_of(content))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content if callable(content) else lambda file: file.write(content), durable)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8 as `write_file` does; names of files that are no UTF-8 keep their bytes."""
    write_file(path, text.encode("utf-8", "surrogateescape"))


def write_csv(path: str | Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write the rows of a table, the titles first, as `write_text` does."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    write_text(path, text.getvalue())


def write_picture(path: str | Path, picture: np.ndarray, form: str, durable: bool = True, **options: int) -> None:
    """Write a picture as `write_file` does.

    Args:
        path: the file.
        picture: uint8 (H, W, 3), RGB, or (H, W), grey.
        form: Pillow's name of a format.
        durable: see `write_file`.
        options: of that format.
    """
    image = Image.fromarray(picture)
    write_file(path, lambda file: image.save(file, form, **options), durable)


def _is_stream(path: Path) -> bool:
    """Return whether a path is no regular file, or leads to one by the system: /dev/stdout of a shell's `> FILE`."""
    return path.exists() and (not path.is_file() or os.path.abspath(path).startswith(("/dev/", "/proc/")))


def _bytes_of(content: bytes | Callable[[IO[bytes]], Any]) -> bytes:
    if not callable(content):
        return content
    content(file := io.BytesIO())
    return file.getvalue()


def replace_file(path: Path, write: Callable[[IO[bytes]], Any], durable: bool = True) -> None:
    """Call `write(file)` on a temporary file beside `path`, flush it to the disk, and put it in the place of `path`.

    Not `durable`, it is not flushed.

    Raises:
        OSError: the disk is full, or the folder cannot be written; `path` is as it was.
    """
    name = os.fsdecode(os.fsencode(path.name)[-_NAME_BYTES:])
    temporary = path.with_name(TEMPORARY.format(name=name, process=os.getpid()))
    try:
        with open_new(temporary) as file:
            write(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        remove_file(temporary)
        raise
    if durable:
        sync_folder(path.parent)


def open_new(path: Path) -> IO[bytes]:
    """Open a new file for writing; what has its name, left by a killed process, is removed, and a link not followed."""
    try:
        return open(path, "xb")
    except FileExistsError:
        os.unlink(path)
        return open(path, "xb")


def sync_folder(folder: Path) -> None:
    """Flush the names of a folder's files to the disk; without it a power cut may undo a renaming."""
    descriptor = os.open(folder, os.O_RDONLY)
    with suppress(OSError):  # some network file systems cannot flush a folder, and need not
        os.fsync(descriptor)
    os.close(descriptor)


def remove_file(path: Path) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_leftovers(folder: Path, suffix: str) -> None:
    """Remove the temporary files of names ending in `suffix` that killed processes left in a folder."""
    for leftover in folder.glob(TEMPORARY.format(name=f"*{suffix}", process="*")):
        remove_file(leftover)


@contextmanager
def failures_told(path: Path) -> Iterator[None]:
    """Turn a full disk or a folder without permission, met while writing `path`, into an OutputError."""
    try:
        yield
    except OutputError:
        raise
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        if tells_of_killed_loader(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{path} could not be written ({reason}): make room, or choose another place. What was there before is "
            "untouched."
        ) from error


def check_file(path: str | Path, option: str) -> Path:
    """Return the path of a file that is written later, after a look at whether that can work.

    Args:
        path: the file.
        option: what the user calls it, such as "--out".

    Raises:
        OutputError: a folder has its name, it lies below a file, its name is too long, or its folder takes no file.
    """
    path = Path(path)
    with _refused(path, option):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not _is_stream(path):
            _try_folder(path.absolute())
    return path


def check_folder(path: str | Path, option: str) -> Path:
    """Return the path of a folder that is written to later, after a look at whether that can work.

    Args:
        path: the folder, there or not.
        option: what the user calls it, such as "--work-dir".

    Raises:
        OutputError: a file has its name or lies above it, its name is too long, or it takes no file.
    """
    path = Path(path)
    with _refused(path, option):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is not a folder")
        _try_folder(path.absolute() / "x")
    return path


@contextmanager
def _refused(path: Path, option: str) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # a zero byte in the name, a circle of links
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{option} is {path}, where nothing can be written ({reason}): choose another place."
        ) from error


def _try_folder(path: Path) -> None:
    """Write a byte to a file without a name in the folder that is to hold `path`, or the nearest that is there."""
    with suppress(FileNotFoundError):
        os.stat(path)  # a name that is too long, or one below a file
    folder = next(parent for parent in path.parents if os.path.lexists(parent))
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\0")
