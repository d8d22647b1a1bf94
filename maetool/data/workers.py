"""The processes that load data: deaf to signals that are for the run, and gone when the program ends."""

import atexit
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from maetool.compat import STOP_SIGNALS


def shielded(dataloader: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a loader whose workers ignore stop signals, and end when the program does.

    Args:
        dataloader: its config.
    """
    return {"worker_init_fn": {"type": ignore_signals_in_workers()}, **dataloader}


def ignore_signals_in_workers() -> Callable[..., None]:
    """Return a `worker_init_fn` of loaders that ignores the signals that ask to stop, and Ctrl-C.

    Schedulers, and a terminal at Ctrl-C, send a signal to every process of a job, but the run decides what it means.
    The workers end with the program.
    """
    # Python would end workers by a SIGTERM, and wait for ever for those that ignore it.
    atexit.unregister(_end_workers)
    atexit.register(_end_workers)
    return _ignore_signals


def _ignore_signals(worker_id: int, **_: Any) -> None:
    for number in (signal.SIGINT, *STOP_SIGNALS):
        signal.signal(number, signal.SIG_IGN)
    sys.excepthook = _tell_but_lost_connections


def _tell_but_lost_connections(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error as Python does, unless a thread that hands over tensors lost a main process that ends."""
    in_thread = threading.current_thread() is not threading.main_thread()
    if not (in_thread and isinstance(error, ConnectionError | EOFError)):
        sys.__excepthook__(kind, error, trace)


def _end_workers() -> None:
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where torch would report a worker that dies
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
