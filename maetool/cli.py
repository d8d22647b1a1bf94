"""How a tool starts and how it ends: a user's mistake is one sentence, not a traceback."""

import atexit
import errno
import io
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

from .errors import UsageError, failure_of_job, failure_of_loading, is_interrupt

STARTED = time.monotonic()
# 75 is "temporary failure, try again" in the sysexits of Unix: a scheduler that requeues on it does the right thing.
FAILED_EXIT, USAGE_EXIT, STOPPED_EXIT, INTERRUPTED_EXIT = 1, 2, 75, 130
UNSAVED_EXIT = 143  # as of a process that SIGTERM ended: nothing that a scheduler should start again
_STDOUT = 1  # the number of its descriptor
NOTES = "MAETOOL_NOTES"  # names a folder that the processes of a job share, see maetool.engine.processes
RESUME_HINT = "Stopped. The same command with --resume goes on from the last checkpoint."
STOPPED = "stopped"  # the file in it that says that the job stopped as asked, and saved


class StoppedError(Exception):
    """The run was asked to stop.

    Args:
        reason: who asked, and what is saved.
        saved: whether a checkpoint holds the last iteration.
    """

    def __init__(self, reason: str, saved: bool = True) -> None:
        super().__init__(reason)
        self.saved = saved


class _CtrlC:
    """Notes Ctrl-C before it interrupts as usual: a library may catch that and raise an error of its own."""

    pressed = False  # of the class, because `maetool train` calls `run` inside of `run`

    def __enter__(self) -> None:
        main_thread = threading.current_thread() is threading.main_thread()  # Python lets no other thread listen
        self._listens = main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._listens:
            _CtrlC.pressed = False
            signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: Any) -> None:
        if self._listens:  # a second Ctrl-C ends at once what is leaving already, with the same exit code in a shell
            signal.signal(signal.SIGINT, signal.SIG_DFL if self.pressed else signal.default_int_handler)

    def _note(self, number: int, frame: Any) -> None:
        _CtrlC.pressed = True
        signal.default_int_handler(number, frame)


def run(
    main: Callable[[], None],
    interrupted: str = RESUME_HINT,
) -> None:
    """Call `main` and leave the process with the exit code that fits.

    0 after all went well, 1 when loading or another process of the job failed or the output could not be written, 2
    after a mistake, 75 after being told to stop and having saved, 143 after being told to stop with nothing that saves,
    130 after Ctrl-C. Output that nobody reads is dropped, as after `| head -1`.

    Args:
        main: what the tool does.
        interrupted: the sentence after Ctrl-C.
    """
    secure_streams()
    try:
        with _CtrlC():
            main()
        code = 0
    except SystemExit as left:
        if left.code:
            raise
        code = 0  # after --help, which may not have been written either
    except StoppedError as stopped:
        code = _tell_of_stop(stopped)
    except (Exception, KeyboardInterrupt) as error:
        known = _tell_of_failure(error, interrupted, _CtrlC.pressed)
        if known is None:
            raise
        code = known
    _leave(code or _tell_of_lost_output())


def _tell_of_failure(error: BaseException, interrupted: str, pressed: bool) -> int | None:
    """Tell in one sentence what ended the program and return its exit code; None for a defect of maetool."""
    if pressed or is_interrupt(error):
        tell(interrupted)
        return INTERRUPTED_EXIT
    if isinstance(error, UsageError):
        # A worker process hands over its traceback as text; the sentence is what follows the exception's name.
        tell("error: " + str(error).rsplit("UsageError: ", 1)[-1].strip())
        return USAGE_EXIT
    if sentence := failure_of_loading(error) or failure_of_job(error):
        tell(f"error: {sentence}")
        return FAILED_EXIT
    return None


def _tell_of_stop(stopped: StoppedError) -> int:
    if not stopped.saved:
        tell(f"Stopped: {stopped}: add default_hooks.checkpoint=dict(type='SafeCheckpointHook') to be able to resume.")
        return UNSAVED_EXIT
    tell(f"Stopped: {stopped}. The same command with --resume goes on from here.")
    if os.environ.get(NOTES):
        Path(os.environ[NOTES], STOPPED).touch()
    return STOPPED_EXIT


def _tell_of_lost_output() -> int:
    """Tell why the standard output could not be written, if so, and return the exit code."""
    sys.stdout.flush()
    if not _Patient.failure:
        return 0
    tell(f"error: The output could not be written ({_Patient.failure}): make room, or send it to another place.")
    return FAILED_EXIT


def _leave(code: int) -> None:
    """End the program; a process of a job without the interpreter's clearing up, in which torch's threads may abort."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)  # not imported here: --help must be quick
    if not distributed or not distributed.is_available() or not distributed.is_initialized():
        sys.exit(code)
    if code in (0, STOPPED_EXIT):  # otherwise the others may be in the middle of something, and not answer
        distributed.destroy_process_group()
    atexit._run_exitfuncs()  # the only name there is; loggers on the network finish here
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def tell(sentence: str) -> None:
    """Write a sentence to the terminal; of several processes that say the same, one."""
    if os.environ.get(NOTES):
        try:
            Path(os.environ[NOTES], sha256(sentence.encode()).hexdigest()).touch(exist_ok=False)
        except FileExistsError:
            return
    sys.stderr.write(f"\n{sentence}\n")


def secure_streams() -> None:
    """Let no output end the program: what goes to a stream that is closed, full, or not read any more is dropped."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the next file would get this number, and what C libraries write to the terminal
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 for the rest of the program
        elif stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _patient(stream))


class _Patient(io.FileIO):
    """A stream that drops what cannot be written."""

    failure = ""  # why something was lost of the standard output that somebody would have read

    def write(self, data: Any) -> int:
        """Write bytes."""
        try:
            return super().write(data)
        except OSError as error:
            device = stat.S_ISCHR(os.fstat(self.fileno()).st_mode)  # which a terminal that is gone still is
            unread = error.errno == errno.EPIPE or (error.errno == errno.EIO and device)
            if self.fileno() == _STDOUT and not unread:
                _Patient.failure = error.strerror
            return len(data)


def _patient(stream: TextIO) -> TextIO:
    stream.flush()
    raw = _Patient(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if isinstance(stream.buffer, io.RawIOBase) else io.BufferedWriter(raw),  # the former with python -u
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=getattr(stream, "write_through", False),
    )
