"""How a tool starts and how it ends: a user's mistake is one sentence, not a traceback."""

import sys
from collections.abc import Callable

from .errors import UsageError

USAGE_EXIT, INTERRUPTED_EXIT = 2, 130


def run(
    main: Callable[[], None],
    stopped: str = "Stopped. The same command with --resume goes on from the last checkpoint.",
) -> None:
    """Call `main` and leave the process with the exit code that fits: 0, 2 after a mistake, 130 after Ctrl-C.

    Args:
        main: what the tool does.
        stopped: the sentence after Ctrl-C.
    """
    try:
        main()
    except UsageError as error:
        # A worker process hands over its traceback as text; the sentence is what follows the exception's name.
        sentence = str(error).rsplit("UsageError: ", 1)[-1].strip()
        sys.stderr.write(f"\nerror: {sentence}\n")
        sys.exit(USAGE_EXIT)
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{stopped}\n")
        sys.exit(INTERRUPTED_EXIT)
