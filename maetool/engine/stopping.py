"""Being told to stop: by a signal, or by a budget of time."""

import signal
import threading
import time
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size

from maetool.cli import STARTED
from maetool.errors import UsageError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # what Slurm and other schedulers send before they kill
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
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
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


def shield_worker(worker_id: int, **_: Any) -> None:
    """Let a loader's worker ignore the signals: schedulers send them to every process, but the run decides."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
