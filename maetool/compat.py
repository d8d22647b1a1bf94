"""The only file that depends on the version or the abilities of a dependency or of the operating system."""

import ctypes
import errno
import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from math import nan

import torch

# What Slurm and other schedulers send before they kill; Windows has no SIGUSR1.
STOP_SIGNALS = (signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def signals_held() -> Iterator[None]:
    """Let signals that ask to stop wait; processes that are started meanwhile never get them, also after an exec."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *STOP_SIGNALS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wake_main_thread() -> bool:
    """Send the main thread the last of STOP_SIGNALS, which ends a wait; return whether that is possible here."""
    possible = hasattr(signal, "pthread_kill")  # not on Windows
    if possible:
        signal.pthread_kill(threading.main_thread().ident, STOP_SIGNALS[-1])
    return possible


def lock_file(file: int) -> bool | None:
    """Lock an open file for this process until it closes the file or ends; its child processes do not have the lock.

    Args:
        file: its descriptor, open for reading and writing.

    Returns:
        Whether this process has the lock now; None where the file system knows no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, 2**30, os.SEEK_SET)  # beyond what is written, because Windows keeps others from reading it
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not inherited by a fork
    except OSError as error:
        return False if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK) else None
    return True


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU computes bfloat16 with instructions of its own, so that it is worth using."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # no public question in torch yet
    return bool(supported and supported())


def usable_cores() -> int:
    """Return how many cores this process may use; a container may allow fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def peak_memory() -> float:
    """Return the most bytes of memory that this process has held so far; NaN where the system does not say it."""
    try:
        import resource
    except ImportError:  # Windows
        return nan
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def read_at(file: int, size: int, offset: int) -> bytes:
    """Return up to `size` bytes of an open file from `offset` on.

    Args:
        file: its descriptor, whose own position threads may share.
        size: in bytes.
        offset: from the beginning of the file.
    """
    if hasattr(os, "pread"):
        return os.pread(file, size, offset)
    with _ONE_AT_A_TIME:  # Windows: the position belongs to the descriptor
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, size)


def start_of_helpers() -> multiprocessing.context.BaseContext:
    """Return how to start a process that shall be there soon: by a fork on Linux, which need not import anything."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


@cache
def cpu_resizes_uint8() -> bool:
    """Return whether torch's antialiased resize of uint8 is vectorised here; without AVX2 Pillow is faster."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def silence_opencv() -> None:
    """Let OpenCV write nothing to the terminal."""
    import cv2

    place = getattr(cv2.utils, "logging", cv2)  # 4.11 has the function in cv2 itself, 5 no longer
    place.setLogLevel(0)


def keep_freed_memory(keep: bool = True) -> bool:
    """Let this process keep the memory that a training step frees for its next step; return whether that was possible.

    A step on a CPU frees and takes a gigabyte each time. The C library of most Linux systems hands part of it back to
    the system in between, which then has to clear those pages again.

    Args:
        keep: False does the opposite: every tensor above 256 KiB is handed back at once, so that the process holds only
            what is in use. That is slow, and for measuring memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    # malloc.h: M_MMAP_THRESHOLD is -3, at most 32 MiB; M_TRIM_THRESHOLD is -1, an int.
    mapped, kept = (2**25, 2**31 - 1) if keep else (2**18, 0)
    return bool(mallopt and mallopt(-3, mapped) and mallopt(-1, kept))
