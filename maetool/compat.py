"""The only file that depends on versions or features of dependencies and of the operating system."""

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

from maetool._lazy import is_installed as is_installed

# What Slurm and other schedulers send before they kill; Windows has no SIGUSR1.
STOP_SIGNALS = (signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def signals_held() -> Iterator[None]:
    """Block stop signals; processes started meanwhile never receive them, even after exec."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, *STOP_SIGNALS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wake_main_thread() -> bool:
    """Send the last of STOP_SIGNALS to the main thread, which interrupts a wait; return whether this is possible."""
    thread = threading.main_thread().ident
    if thread is None or not hasattr(signal, "pthread_kill"):  # Windows
        return False
    signal.pthread_kill(thread, STOP_SIGNALS[-1])
    return True


def lock_file(file: int) -> bool | None:
    """Lock an open file for this process until it closes the file or ends; child processes do not inherit the lock.

    Args:
        file: descriptor, open for reading and writing.

    Returns:
        Whether this process holds the lock; None if the file system does not support locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, 2**30, os.SEEK_SET)  # beyond the content, because Windows blocks reads of a locked range
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not inherited by a fork
    except OSError as error:
        return False if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK) else None
    return True


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU has bfloat16 instructions, so that bfloat16 is fast."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # torch has no public function yet
    return bool(supported and supported())


def usable_cores() -> int:
    """Return the number of cores this process may use, which may be limited by a container."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def peak_memory() -> float:
    """Return the peak memory of this process in bytes; NaN if the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return nan
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def read_at(file: int, size: int, offset: int) -> bytes:
    """Read up to `size` bytes of an open file from `offset`.

    Args:
        file: descriptor, which threads may share.
        size: in bytes.
        offset: in bytes from the beginning of the file.
    """
    if hasattr(os, "pread"):
        return os.pread(file, size, offset)
    with _ONE_AT_A_TIME:  # Windows: the position belongs to the descriptor
        os.lseek(file, offset, os.SEEK_SET)
        return os.read(file, size)


def seed_generators(seed: int) -> None:
    """Seed the default generators of all devices as `torch.manual_seed` does.

    Without an accelerator only the CPU's: `torch.manual_seed` formats the call stack for each kind of device that is
    not there, which takes a millisecond.

    Args:
        seed: from -2**63 to 2**64 - 1.
    """
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def start_of_helpers() -> multiprocessing.context.BaseContext:
    """Return the quickest way to start a process: fork on Linux, which imports nothing."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


@cache
def cpu_resizes_uint8() -> bool:
    """Return whether torch's antialiased resize of uint8 is vectorised here; without AVX2 Pillow is faster."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def silence_opencv() -> None:
    """Silence OpenCV's terminal output."""
    import cv2

    place = getattr(cv2.utils, "logging", cv2)  # 4.11 has the function in cv2 itself, 5 no longer
    place.setLogLevel(0)


def keep_freed_memory(keep: bool = True) -> bool:
    """Make malloc keep freed memory for the next training step; return whether this is possible.

    A step on a CPU allocates and frees about a gigabyte. The C library of most Linux systems returns part of it to the
    system in between, which then has to clear the pages again.

    Args:
        keep: False does the opposite: every tensor above 256 KiB is returned at once, so that the process holds only
            memory in use. This is slow, and meant for measuring memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    # malloc.h: M_MMAP_THRESHOLD is -3, at most 32 MiB; M_TRIM_THRESHOLD is -1, an int.
    mapped, kept = (2**25, 2**31 - 1) if keep else (2**18, 0)
    return bool(mallopt and mallopt(-3, mapped) and mallopt(-1, kept))


@cache
def keep_images_in_heap() -> None:
    """Let glibc keep the memory of one image for the next, also where no training asks for more.

    It gives a block to the system and asks for it again where that is larger than any freed before, up to 32 MiB
    (mallopt(3), M_MMAP_THRESHOLD); so one large block is freed, which nothing was written to. Elsewhere it is no harm.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)
