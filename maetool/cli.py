"""How a tool starts and how it ends: a user's mistake is one sentence, not a traceback."""

import atexit
import os
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from .errors import UsageError, tells_of_killed_loader

STARTED = time.monotonic()
# 75 is "temporary failure, try again" in the sysexits of Unix: a scheduler that requeues on it does the right thing.
FAILED_EXIT, USAGE_EXIT, STOPPED_EXIT, INTERRUPTED_EXIT = 1, 2, 75, 130
UNSAVED_EXIT = 143  # as of a process that SIGTERM ended: nothing that a scheduler should start again
NOTES = "MAETOOL_NOTES"  # names a folder that the processes of a job share, see maetool.engine.processes
RESUME_HINT = "Stopped. The same command with --resume goes on from the last checkpoint."
STOPPED = "stopped"  # the file in it that says that the job stopped as asked, and saved

_LOADER_DIED = (
    "A process that loads images was killed ({}). Most often memory ran out: use fewer of them "
    "(train_dataloader.num_workers) or smaller batches, and give a container more shared memory "
    "(docker run --shm-size=8g). The same command with --resume goes on from the last checkpoint."
)


class StoppedError(Exception):
    """The run was asked to stop.

    Args:
        reason: who asked, and what is saved.
        saved: whether a checkpoint holds the last iteration.
    """

    def __init__(self, reason: str, saved: bool = True) -> None:
        super().__init__(reason)
        self.saved = saved


def run(
    main: Callable[[], None],
    interrupted: str = RESUME_HINT,
) -> None:
    """Call `main` and leave the process with the exit code that fits.

    0 after all went well, 1 when a loading process was killed, 2 after a mistake, 75 after being told to stop and
    having saved, 143 after being told to stop with nothing that saves, 130 after Ctrl-C.

    Args:
        main: what the tool does.
        interrupted: the sentence after Ctrl-C.
    """
    try:
        main()
        code = 0
    except StoppedError as stopped:
        code = _tell_of_stop(stopped)
    except UsageError as error:
        # A worker process hands over its traceback as text; the sentence is what follows the exception's name.
        _tell("error: " + str(error).rsplit("UsageError: ", 1)[-1].strip())
        sys.exit(USAGE_EXIT)
    except KeyboardInterrupt:
        _tell(interrupted)
        sys.exit(INTERRUPTED_EXIT)
    except RuntimeError as error:
        if not tells_of_killed_loader(error):
            raise
        _tell(f"error: {_LOADER_DIED.format(str(error).rstrip('. '))}")
        sys.exit(FAILED_EXIT)
    _leave(code)


def _tell_of_stop(stopped: StoppedError) -> int:
    if not stopped.saved:
        _tell(f"Stopped: {stopped}: add default_hooks.checkpoint=dict(type='SafeCheckpointHook') to be able to resume.")
        return UNSAVED_EXIT
    _tell(f"Stopped: {stopped}. The same command with --resume goes on from here.")
    if os.environ.get(NOTES):
        Path(os.environ[NOTES], STOPPED).touch()
    return STOPPED_EXIT


def _leave(code: int) -> None:
    """End the program; a process of a job without the interpreter's clearing up, in which torch's threads may abort."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)  # not imported here: --help must be quick
    if not distributed or not distributed.is_available() or not distributed.is_initialized():
        sys.exit(code)
    distributed.destroy_process_group()
    atexit._run_exitfuncs()  # the only name there is; loggers on the network finish here
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _tell(sentence: str) -> None:
    """Write a sentence to the terminal; of several processes that say the same, one."""
    if os.environ.get(NOTES):
        try:
            Path(os.environ[NOTES], sha256(sentence.encode()).hexdigest()).touch(exist_ok=False)
        except FileExistsError:
            return
    sys.stderr.write(f"\n{sentence}\n")
