"""Atomic writes of files: each is complete or absent, even after a power cut."""

import csv
import errno
import io
import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import isfinite
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from ._deprecated import moved
from .errors import OutputError, is_killed_loader

TEMPORARY = ".{name}.{process}.tmp"
_NAME_BYTES = 200  # of the name in a temporary file's name, so that the latter stays below the usual limit of 255


def write_file(path: str | Path, content: bytes | Callable[[IO[bytes]], Any], durable: bool = True) -> None:
    """Write a file atomically, creating its folders.

    A link is replaced, not followed. A device or a pipe, such as /dev/stdout, is written to directly.

    Args:
        path: the file.
        content: its bytes, or a function that writes them to an open file.
        durable: flush it to the disk; False is faster for thousands of files, but a power cut may lose them.

    Raises:
        OutputError: the disk is full, or the folder cannot be written; an existing file stays unchanged.
    """
    path = Path(path)
    with as_output_error(path):
        if _is_stream(path):
            path.write_bytes(_bytes_of(content))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content if callable(content) else lambda file: file.write(content), durable)


def write_text(path: str | Path, text: str) -> None:
    """Write a text in UTF-8 to `path` as `write_file` does; file names that are not UTF-8 keep their bytes."""
    write_file(path, text.encode("utf-8", "surrogateescape"))


def to_json(content: Any, indent: int | None = 2) -> str:
    """Return a value as JSON of one or more lines, with null for numbers that are not finite, which JSON has not.

    Args:
        content: mappings with text as keys, sequences, text, numbers, truth values and None.
        indent: blanks for each level; None for one line.
    """
    return json.dumps(_finite(content), indent=indent, allow_nan=False) + "\n"


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content


def write_csv(path: str | Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write a table to `path` as `write_text` does.

    Args:
        path: of the file.
        rows: the header, then the rows of the table.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    write_text(path, text.getvalue())


def write_picture(path: str | Path, picture: np.ndarray, form: str, durable: bool = True, **options: int) -> None:
    """Write a picture as `write_file` does.

    Args:
        path: the file.
        picture: uint8 (H, W, 3), RGB, or (H, W), grey.
        form: Pillow's name of the format.
        durable: see `write_file`.
        options: options of that format.
    """
    image = Image.fromarray(picture)
    write_file(path, lambda file: image.save(file, form, **options), durable)


def _is_stream(path: Path) -> bool:
    """Return whether a path is a stream: not a regular file, or a link of the system such as /dev/stdout."""
    return path.exists() and (not path.is_file() or os.path.abspath(path).startswith(("/dev/", "/proc/")))


def _bytes_of(content: bytes | Callable[[IO[bytes]], Any]) -> bytes:
    if not callable(content):
        return content
    content(file := io.BytesIO())
    return file.getvalue()


def replace_file(path: Path, write: Callable[[IO[bytes]], Any], durable: bool = True) -> None:
    """Call `write(file)` on a temporary file beside `path`, flush it to the disk, and rename it to `path`.

    Without `durable`, it is not flushed.

    Raises:
        OSError: the disk is full, or the folder cannot be written; `path` stays unchanged.
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
    """Open the new file `path` for writing; a leftover of a killed process is removed, and a link is not followed."""
    try:
        return open(path, "xb")
    except FileExistsError:
        os.unlink(path)
        return open(path, "xb")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk; otherwise a power cut may undo a rename."""
    descriptor = os.open(folder, os.O_RDONLY)
    with suppress(OSError):  # some network file systems cannot flush folders, and need not
        os.fsync(descriptor)
    os.close(descriptor)


def remove_file(path: Path) -> None:
    """Remove the file `path`, if it exists."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_leftovers(folder: Path, suffix: str) -> None:
    """Remove temporary files that killed processes left in a folder, for names ending in `suffix`."""
    for leftover in folder.glob(TEMPORARY.format(name=f"*{suffix}", process="*")):
        remove_file(leftover)


@contextmanager
def as_output_error(path: Path) -> Iterator[None]:
    """Turn an error while writing `path`, such as a full disk, into an OutputError."""
    try:
        yield
    except OutputError:
        raise
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        if is_killed_loader(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{path} could not be written ({reason}): free disk space, or choose another path. An existing file is "
            "unchanged."
        ) from error


def check_file(path: str | Path, option: str) -> Path:
    """Return the path of a file that is written later, after checking that this is possible.

    Args:
        path: the file.
        option: the option that names it, such as "--out".

    Raises:
        OutputError: the path is a folder, is below a file, is too long, or its folder is not writable.
    """
    path = Path(path)
    with _refused(path, option):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not _is_stream(path):
            _try_folder(path.absolute())
    return path


# Endings by which somebody who names a new folder means a file.
_TABLES = (".csv", ".json", ".jsonl", ".parquet", ".tsv", ".txt", ".xls", ".xlsx", ".xml", ".yaml", ".yml")
_PICTURES = (".jpeg", ".jpg", ".pdf", ".png", ".tif", ".tiff")
_ARRAYS = (".npy", ".npz", ".onnx", ".pkl", ".pt", ".pth", ".safetensors")
_FILES = (*_TABLES, *_PICTURES, *_ARRAYS, ".html", ".md", ".py", ".tar", ".zip")


def check_folder(path: str | Path, option: str) -> Path:
    """Return the path of a folder that is written to later, after checking that this is possible.

    Args:
        path: the folder, which need not exist.
        option: the option that names it, such as "--work-dir".

    Raises:
        OutputError: the path is a file, is below a file, is too long, is not writable, or is new and named like a file.
    """
    path = Path(path)
    with _refused(path, option):
        if path.suffix.lower() in _FILES and not path.exists():
            raise ValueError(f"a folder is written here, but {path.suffix} is the ending of a file")
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
        raise OutputError(f"{option} is {path}, which cannot be written ({reason}): choose another path.") from error


def _try_folder(path: Path) -> None:
    """Write a byte to an unnamed file in the folder of `path`, or in its nearest existing parent."""
    with suppress(FileNotFoundError):
        os.stat(path)  # a name that is too long, or one below a file
    folder = next(parent for parent in path.parents if os.path.lexists(parent))
    if not stat.S_ISDIR(os.stat(folder).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder")
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\0")


__getattr__ = moved(__name__, {"failures_told": "maetool.writing.as_output_error"}, "0.3.0")
