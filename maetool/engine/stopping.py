"""Stop requests: signals of a job scheduler, or a wall-clock budget."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import distributed

from maetool._deprecated import moved
from maetool.cli import STARTED
from maetool.compat import STOP_SIGNALS, signals_held, wake_main_thread
from maetool.errors import UsageError
from maetool.parallel.groups import host_group

_BUDGET = 255
_END = object()


class _WaitEndedError(BaseException):
    """A stop was requested while waiting for a batch; no Exception, so that data code does not count a broken file."""


class PassEndedError(BaseException):
    """A stop was requested during a pass over a loader; a BaseException, so that no metric handles it as a failure.

    Args:
        reason: what `StopRequest.reason` returned.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class StopRequest:
    """Records stop requests while it is entered; the training loop finishes its iteration, saves and ends.

    Args:
        max_hours: wall-clock budget from the start of the program; None for none.

    Attributes:
        votes: whether the processes agree on a stop before the next batch; otherwise a process waits for its batch
            whatever is requested, because the others go on.

    Raises:
        UsageError: a budget that is not positive.
    """

    def __init__(self, max_hours: float | None = None) -> None:
        if max_hours is not None and not max_hours > 0:
            raise UsageError(f"max_hours is {max_hours}, but must be a number of hours above 0, such as 0.5.")
        self.max_hours = max_hours
        self.stepped = False  # the budget applies only after the first step, so that every run makes progress
        self.votes = True
        self._signal = 0
        self._waiting = self._timed_out = self._woken = False
        self._loading: dict[int, Any] = {}  # a loader's id to its iterator
        self._previous: dict[int, Any] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread listen
            self._previous = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
            if self.max_hours is not None:
                left = max(0.0, 3600 * self.max_hours - (time.monotonic() - STARTED))
                self._timer = threading.Timer(min(left, threading.TIMEOUT_MAX), self._end_budget)
                self._timer.daemon = True
                self._timer.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()  # its signal would end the program when it is no longer handled
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _end_budget(self) -> None:
        self._timed_out = self._woken = True
        if not wake_main_thread():
            self._woken = False

    def _note(self, number: int, _: Any) -> None:
        if self._woken and number == STOP_SIGNALS[-1]:
            self._woken = False  # the next one is a scheduler's
        else:
            self._signal = number
        if self._waiting and self.votes and self._pending():
            self._waiting = False
            raise _WaitEndedError

    def batches(
        self, dataloader: Any, number: int | None = None, votes: Callable[[], bool] | None = None
    ) -> Iterator[Any]:
        """Yield up to `number` batches, and None if a stop is requested before the next one is available.

        Args:
            dataloader: the loader, which may hang.
            number: how many batches are needed; None for all.
            votes: says before each batch whether a stop may come before it, see the attribute; None, always.
        """
        key = id(dataloader)
        self.votes = votes is None or votes()
        self._loading[key] = getattr(dataloader, "_iterator", None)  # of persistent workers
        loading = self._loading[key] = self._wait(_start_loading, dataloader) or self._loading[key]
        for _ in count() if number is None else range(number):
            self.votes = votes is None or votes()
            batch = self._wait(next, loading, _END)
            if batch is _END:
                return
            yield batch
        self.votes = True

    def full_pass(self, dataloader: Any) -> Iterator[Any]:
        """Yield all batches of a loader, whose number may differ between processes.

        At the end, which comes early if a stop is requested, the processes agree whether to stop. All processes must
        make the same passes.

        Args:
            dataloader: the loader, which may hang.

        Raises:
            PassEndedError: a stop was requested; raised in all processes.
        """
        for batch in self.batches(dataloader):
            if batch is None:
                break
            yield batch
        if reason := self.reason():
            raise PassEndedError(reason)

    def _wait(self, function: Any, *arguments: Any) -> Any:
        """Return the result of a function; None if a stop is requested before it returns."""
        try:
            self._waiting = True
            result = None if self.votes and self._pending() else function(*arguments)
            self._waiting = False
        except _WaitEndedError:
            return None
        except BaseException:
            self._waiting = False
            raise
        return result

    def end_loading(self) -> None:
        """Kill the workers of the loaders that were read, even if they hang; the loaders are unusable afterwards.

        The iterators are kept, because deleting them would wait five seconds for each worker.
        """
        if hasattr(signal, "SIGCHLD"):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would report the killed workers
        for loading in self._loading.values():
            for process in getattr(loading, "_workers", ()):
                process.kill()

    def _pending(self) -> int:
        return self._signal or (_BUDGET if self.stepped and self._over_time() else 0)

    def reason(self) -> str:
        """Return why to stop, empty without a request; the same in all processes, which must call it together.

        The processes exchange a number of their CPUs, so that nobody waits for an accelerator.
        """
        request = self._pending()
        if get_world_size() > 1:
            number = torch.tensor(request)
            distributed.all_reduce(number, distributed.ReduceOp.MAX, group=host_group())
            request = int(number)
        if request == _BUDGET:
            return f"the budget of {self.max_hours} hours is used up"
        return f"asked to by {signal.Signals(request).name}" if request else ""

    def _over_time(self) -> bool:
        over = self.max_hours is not None and time.monotonic() - STARTED >= 3600 * self.max_hours
        return over or self._timed_out


def _start_loading(dataloader: Any) -> Iterator[Any]:
    if getattr(dataloader, "_iterator", None) is not None:
        return iter(dataloader)  # its workers already exist, and may hang
    with signals_held():  # until the workers ignore them
        return iter(dataloader)


__getattr__ = moved(
    __name__,
    {
        "SIGNALS": "maetool.compat.STOP_SIGNALS",
        "shielded": "maetool.data.workers.shielded",
        "ignore_signals_in_workers": "maetool.data.workers.ignore_signals_in_workers",
    },
    "0.3.0",
)
