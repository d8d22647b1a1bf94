"""The file layer under checkpoints: a file is there completely or not at all, also after a power cut."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

TEMPORARY = ".{name}.{process}.tmp"


def replace_file(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Call `write(file)` on a temporary file beside `path`, flush it to the disk, and put it in the place of `path`.

    Raises:
        OSError: the disk is full, or the folder cannot be written; `path` is as it was.
    """
    temporary = path.with_name(TEMPORARY.format(name=path.name, process=os.getpid()))
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        remove_file(temporary)
        raise
    sync_folder(path.parent)


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
