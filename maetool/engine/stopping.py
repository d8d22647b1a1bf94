"""Being told to stop: by a signal, or by a budget of time."""

import atexit
import multiprocessing
import signal
import threading
import time
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size

from maetool._deprecated import moved
from maetool.cli import STARTED
from maetool.compat import STOP_SIGNALS
from maetool.errors import UsageError

_BUDGET = 255


class StopRequest:
    """Whether the run was asked to stop; a context in which the signals of schedulers are noted and not obeyed.

    Args:
        max_hours: wall-clock budget from the start of the program; None for none.

    Raises:
        UsageError: a budget that is not positive.
    """

    def __init__(self, max_hours: float | None = None) -> None:
        if max_hours is not None and not max_hours > 0:
            raise UsageError(f"max_hours is {max_hours}, but must be a number of hours above 0, such as 0.5.")
        self.max_hours = max_hours
        self._signal = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread listen
            self._previous = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: Any) -> None:
        self._signal = number

    def reason(self, device: torch.device) -> str:
        """Return why to stop, empty if nothing asked for it; the same in all processes, which must ask together.

        Args:
            device: where the processes can exchange a number.
        """
        found = self._signal or (_BUDGET if self._over_time() else 0)
        if get_world_size() > 1:
            number = torch.tensor(found, device=device)
            all_reduce(number, "max")
            found = int(number)
        if found == _BUDGET:
            return f"the budget of {self.max_hours} hours is used up"
        return f"asked to by {signal.Signals(found).name}" if found else ""

    def _over_time(self) -> bool:
        return self.max_hours is not None and time.monotonic() - STARTED >= 3600 * self.max_hours


def shielded(dataloader: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a loader whose workers ignore the signals, and see to it that they end with the program.

    Schedulers send a signal to every process of a job, but the run decides what it means.
    """
    # Python would end workers by a SIGTERM, and wait for ever for those that ignore it.
    atexit.unregister(_end_workers)
    atexit.register(_end_workers)
    return {"worker_init_fn": {"type": _ignore_signals}, **dataloader}


def _ignore_signals(worker_id: int, **_: Any) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _end_workers() -> None:
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where torch would report a worker that dies
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


__getattr__ = moved(__name__, {"SIGNALS": "maetool.compat.STOP_SIGNALS"}, "0.3.0")
