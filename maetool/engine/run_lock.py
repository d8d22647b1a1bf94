"""One run per work folder: a file lock, which the operating system releases when its process ends."""

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from maetool.compat import lock_file
from maetool.errors import UsageError
from maetool.messages import print_log

LOCK = ".lock"  # never removed: otherwise a third run could lock a new file of the same name
_RANKS = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}
_held: set[Path] = set()


@contextmanager
def only_run_in(work_dir: str, launcher: str = "none", environment: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Keep other runs out of a work folder; does nothing when nested, and on all ranks but the first.

    The file contains host and process, for the error message of a second run. If the file system has no locks, two runs
    are not kept apart, and a warning is logged.

    Args:
        work_dir: the folder, which is created.
        launcher: how the processes of the job were started, as in a config.
        environment: the environment variables, in which the launcher gives the rank.

    Raises:
        UsageError: another run is in the folder, or it cannot be written.
    """
    folder = Path(work_dir).resolve()
    if folder in _held or int(environment.get(_RANKS.get(launcher, ""), 0)) > 0:
        yield
        return
    file = _open(folder)
    try:
        _lock(file, folder)
        _held.add(folder)
        yield
    finally:
        _held.discard(folder)
        os.close(file)


def _open(folder: Path) -> int:
    with _as_usage_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)


@contextmanager
def _as_usage_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"The work folder {folder} cannot be written ({LOCK}: {error.strerror}): make room, or choose another one "
            "with --work-dir."
        ) from error


def _lock(file: int, folder: Path) -> None:
    locked = lock_file(file)
    if locked is None:
        print_log(
            f"The file system of {folder} has no locks: make sure that no second run is started in this folder.",
            logging.WARNING,
        )
    elif not locked:
        holder = os.read(file, 1000).decode("utf-8", "replace").strip() or "a process that has just started"
        raise UsageError(
            f"{folder} is in use by another run: {holder}. Wait until it ends or end it, or choose another folder with "
            "--work-dir."
        )
    holder = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
    with _as_usage_error(folder):  # a full disk, or a named pipe in the place of the file
        os.lseek(file, 0, os.SEEK_SET)
        os.ftruncate(file, 0)
        os.write(file, holder.encode())
