"""torchrun with maetool's exit codes and a one-sentence error: `python -m maetool.engine.processes ARGUMENTS`.

It takes torchrun's arguments. A process that dies ends the job, and the message names it.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from maetool.cli import (
    INTERRUPTED_EXIT,
    NOTES,
    RESUME_HINT,
    STOPPED,
    STOPPED_EXIT,
    UNSAVED_EXIT,
    USAGE_EXIT,
    secure_streams,
    tell,
)
from maetool.compat import STOP_SIGNALS, usable_cores

_FAILED = 1
_GO_ON = "The same command with --resume continues from the last checkpoint."


def main(arguments: list[str]) -> int:
    """Run torchrun and return the exit code, see `maetool.cli.run`; 1 if no process reported why it ended.

    Args:
        arguments: of torchrun's command line.
    """
    secure_streams()
    for number in STOP_SIGNALS:
        if number != signal.SIGTERM:  # torchrun forwards SIGTERM to its processes; other signals would kill it
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGTERM))
    with tempfile.TemporaryDirectory() as folder:
        os.environ[NOTES] = folder
        try:
            torchrun.run(_share_cores(torchrun.parse_args(arguments)))
        except ChildFailedError as error:
            if (Path(folder) / STOPPED).exists() and _left_as_asked(error):
                return STOPPED_EXIT
            return _explain(error)
        except SignalException as stop:
            if (Path(folder) / STOPPED).exists():
                return STOPPED_EXIT
            if stop.sigval == signal.SIGINT:
                tell(RESUME_HINT)
                return INTERRUPTED_EXIT
            tell(f"error: stopped by {stop.sigval.name} before the processes could save: one of them hangs. {_GO_ON}")
            return _FAILED
    return 0


def _share_cores(arguments: Any) -> Any:
    # torchrun would give each process one thread, even when training on CPUs.
    if str(arguments.nproc_per_node).isdigit():
        threads = str(max(1, usable_cores() // int(arguments.nproc_per_node)))
        os.environ.setdefault("OMP_NUM_THREADS", threads)
        os.environ.setdefault("MKL_NUM_THREADS", threads)
    return arguments


def _left_as_asked(error: ChildFailedError) -> bool:
    """Return whether all processes exited after the job was saved; torchrun sends SIGTERM to those that take longer."""
    return {failure.exitcode for failure in error.failures.values()} <= {STOPPED_EXIT, -signal.SIGTERM}


def _explain(error: ChildFailedError) -> int:
    killed = {process: failure for process, failure in error.failures.items() if failure.exitcode < 0}
    # When one process is killed, the others fail as a consequence and may be noticed first.
    process, first = next(iter(killed.items()), error.get_first_failure())
    if first.exitcode == -signal.SIGINT:  # a second Ctrl-C
        return INTERRUPTED_EXIT
    codes = {failure.exitcode for failure in error.failures.values()}
    if (left := codes - {-signal.SIGTERM}) in ({USAGE_EXIT}, {UNSAVED_EXIT}):  # torchrun ended those that took longer
        return left.pop()
    for code in (USAGE_EXIT, STOPPED_EXIT, UNSAVED_EXIT, INTERRUPTED_EXIT):  # the reason is already printed
        if first.exitcode == code or codes == {code}:
            return code
    sys.stderr.write(
        f"\nerror: process {process} {_how(first)}, so the job was ended. Its last output is above; "
        "the same command with --resume continues from the last checkpoint.\n"
    )
    return _FAILED


def _how(failure: Any) -> str:
    if failure.exitcode < 0:
        name = signal.Signals(-failure.exitcode).name
        memory = ", which the system sends when memory runs out" if name == "SIGKILL" else ""
        return f"was killed by {name}{memory}"
    return f"failed with exit code {failure.exitcode}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
