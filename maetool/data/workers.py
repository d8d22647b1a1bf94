"""The processes that load data: deaf to signals that are for the run, and gone when the program ends."""

import atexit
import multiprocessing
import signal
from collections.abc import Callable, Mapping
from typing import Any

from maetool.compat import STOP_SIGNALS


def shielded(dataloader: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a loader whose workers ignore the signals, and see to it that they end with the program."""
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


def _end_workers() -> None:
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where torch would report a worker that dies
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
