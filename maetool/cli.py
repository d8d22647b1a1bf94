"""How a command starts and ends: a user's mistake gives one sentence, not a traceback."""

import atexit
import errno
import io
import logging
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

from .errors import UsageError, failure_of_access, failure_of_job, failure_of_loading, is_interrupt
from .messages import PlainFormatter

STARTED = time.monotonic()
# 75 is EX_TEMPFAIL of sysexits.h, "try again": a scheduler may requeue the job.
FAILED_EXIT, USAGE_EXIT, STOPPED_EXIT, INTERRUPTED_EXIT = 1, 2, 75, 130
UNSAVED_EXIT = 143  # as after SIGTERM: a scheduler should not requeue the job
_STDOUT = 1  # file descriptor
NOTES = "MAETOOL_NOTES"  # environment variable: a folder shared by the processes of a job, see maetool.engine.processes
RESUME_HINT = "Stopped. The same command with --resume continues from the last checkpoint."
STOPPED = "stopped"  # file in that folder: the job stopped on request and saved


class StoppedError(Exception):
    """The run was asked to stop.

    Args:
        reason: who requested it, and what is saved.
        saved: whether a checkpoint holds the last iteration.
    """

    def __init__(self, reason: str, saved: bool = True) -> None:
        super().__init__(reason)
        self.saved = saved


class _CtrlC:
    """Records Ctrl-C before it interrupts as usual, because a library may catch it and raise another error."""

    pressed = False  # on the class, because `maetool train` nests calls of `run`
    message = ""

    def __init__(self, message: str) -> None:
        self._messages = (message, _CtrlC.message)

    def __enter__(self) -> None:
        _CtrlC.message = self._messages[0]
        main_thread = threading.current_thread() is threading.main_thread()  # signal handlers need the main thread
        self._listens = main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._listens:
            _CtrlC.pressed = False
            signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: Any) -> None:
        if self._listens:  # a second Ctrl-C during shutdown ends the process at once, with the same exit code
            signal.signal(signal.SIGINT, signal.SIG_DFL if self.pressed else signal.default_int_handler)
        _CtrlC.message = self._messages[1]

    def _note(self, number: int, frame: FrameType | None) -> None:
        _CtrlC.pressed = True
        if _is_importing(frame):  # an exception that reaches an initialiser in C++, as torch's, aborts the process
            tell(self.message)
            _exit_at_once(INTERRUPTED_EXIT)
        signal.default_int_handler(number, frame)


def _is_importing(frame: FrameType | None) -> bool:
    """Return whether a module is being imported in this frame or in one that called it."""
    while frame and frame.f_globals.get("__name__") != "importlib._bootstrap":
        frame = frame.f_back
    return frame is not None


def run(
    main: Callable[[], None],
    interrupted: str = RESUME_HINT,
) -> None:
    """Call `main` and exit the process with the matching code.

    0 on success, 1 if loading, another process of the job or writing the output failed, 2 after a mistake of the user,
    75 after a stop request with a saved checkpoint, 143 after a stop request without one, 130 after Ctrl-C. Output to a
    closed pipe, as with `| head -1`, is dropped.

    Args:
        main: the command.
        interrupted: the message after Ctrl-C.
    """
    secure_streams()
    if logging.lastResort:  # writes the warnings of loggers without a handler
        logging.lastResort.setFormatter(PlainFormatter())
    try:
        with _CtrlC(interrupted):
            main()
        code = 0
    except SystemExit as left:
        if left.code:
            raise
        code = 0  # after --help, whose output may be lost too
    except StoppedError as stopped:
        code = _report_stop(stopped)
    except (Exception, KeyboardInterrupt) as error:
        failure_code = _report_failure(error, interrupted, _CtrlC.pressed)
        if failure_code is None:
            raise
        code = failure_code
    _leave(code or _report_lost_output())


def _report_failure(error: BaseException, interrupted: str, pressed: bool) -> int | None:
    """Print in one sentence what ended the program and return the exit code; None for a defect of maetool."""
    if pressed or is_interrupt(error):
        tell(interrupted)
        return INTERRUPTED_EXIT
    if isinstance(error, UsageError):
        # A worker passes its traceback as text; the message follows the exception's name.
        tell("error: " + str(error).rsplit("UsageError: ", 1)[-1].strip())
        return USAGE_EXIT
    if sentence := failure_of_access(error):
        tell(f"error: {sentence}")
        return USAGE_EXIT
    if sentence := failure_of_loading(error) or failure_of_job(error):
        tell(f"error: {sentence}")
        return FAILED_EXIT
    return None


def _report_stop(stopped: StoppedError) -> int:
    if not stopped.saved:
        tell(f"Stopped: {stopped}: add default_hooks.checkpoint=dict(type='SafeCheckpointHook') to be able to resume.")
        return UNSAVED_EXIT
    tell(f"Stopped: {stopped}. The same command with --resume continues from here.")
    if os.environ.get(NOTES):
        Path(os.environ[NOTES], STOPPED).touch()
    return STOPPED_EXIT


def _report_lost_output() -> int:
    """Print why the standard output could not be written, if so, and return the exit code."""
    sys.stdout.flush()
    if not _Patient.failure:
        return 0
    tell(f"error: The output could not be written ({_Patient.failure}): free disk space, or redirect it elsewhere.")
    return FAILED_EXIT


def _leave(code: int) -> None:
    """Exit; a process of a job skips the interpreter's shutdown, in which torch's threads may abort."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)  # not imported here: --help must be quick
    if not distributed or not distributed.is_available() or not distributed.is_initialized():
        sys.exit(code)
    if code in (0, STOPPED_EXIT):  # otherwise the other processes may be busy and not answer
        distributed.destroy_process_group()
    atexit._run_exitfuncs()  # no public name; network loggers flush here
    _exit_at_once(code)


def _exit_at_once(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def tell(sentence: str) -> None:
    """Write a sentence to the terminal; once per job if several processes write the same."""
    if os.environ.get(NOTES):
        try:
            Path(os.environ[NOTES], sha256(sentence.encode()).hexdigest()).touch(exist_ok=False)
        except FileExistsError:
            return
    sys.stderr.write(f"\n{sentence}\n")


def secure_streams() -> None:
    """Prevent output from ending the program: output to a closed or full stream is dropped."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # otherwise the next opened file would get this descriptor, and C libraries' output
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 open until exit
        elif stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _patient(stream))


class _Patient(io.FileIO):
    """A stream that drops output that cannot be written."""

    failure = ""  # why standard output was lost that had a reader

    def write(self, data: Any) -> int:
        """Write bytes."""
        try:
            return super().write(data)
        except OSError as error:
            device = stat.S_ISCHR(os.fstat(self.fileno()).st_mode)  # also of a closed terminal
            unread = error.errno == errno.EPIPE or (error.errno == errno.EIO and device)
            if self.fileno() == _STDOUT and not unread:
                _Patient.failure = error.strerror or str(error)
            return len(data)


def _patient(stream: TextIO) -> TextIO:
    stream.flush()
    raw = _Patient(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(raw),  # the former with python -u
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=bool(stream.line_buffering),
        write_through=getattr(stream, "write_through", False),
    )
