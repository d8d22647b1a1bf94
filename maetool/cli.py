"""How a tool starts and how it ends: a user's mistake is one sentence, not a traceback."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .errors import UsageError

STARTED = time.monotonic()
# 75 is "temporary failure, try again" in the sysexits of Unix: a scheduler that requeues on it does the right thing.
USAGE_EXIT, STOPPED_EXIT, INTERRUPTED_EXIT = 2, 75, 130
STOP_NOTE = "MAETOOL_STOP_NOTE"  # names a file in which a run that stopped as asked tells its launcher so


class StoppedError(Exception):
    """The run was asked to stop, and has saved where it is; the message says who asked."""


def run(main: Callable[[], None]) -> None:
    """Call `main` and leave the process with the exit code that fits.

    0 after all went well, 2 after a mistake, 75 after being told to stop and having saved, 130 after Ctrl-C.
    """
    try:
        main()
    except StoppedError as stopped:
        if os.environ.get("RANK", "0") == "0":
            sys.stderr.write(f"\nStopped: {stopped}. The same command with --resume goes on from here.\n")
        if note := os.environ.get(STOP_NOTE):
            Path(note).touch()
        sys.exit(STOPPED_EXIT)
    except UsageError as error:
        # A worker process hands over its traceback as text; the sentence is what follows the exception's name.
        sentence = str(error).rsplit("UsageError: ", 1)[-1].strip()
        sys.stderr.write(f"\nerror: {sentence}\n")
        sys.exit(USAGE_EXIT)
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped. The same command with --resume goes on from the last checkpoint.\n")
        sys.exit(INTERRUPTED_EXIT)
