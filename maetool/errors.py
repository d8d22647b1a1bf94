"""The exception for mistakes of a user, and the context of other errors."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import PurePath

from ._deprecated import moved

_GO_ON = "The same command with --resume continues from the last checkpoint."
_LOADER_DIED = (
    "A loader worker was killed ({}). Most often memory ran out: use fewer workers "
    "(train_dataloader.num_workers) or smaller batches, and give a container more shared memory "
    f"(docker run --shm-size=8g). {_GO_ON}"
)
_SHARED_MEMORY_FULL = (
    "The shared memory (/dev/shm) of the loader workers is full ({}): give a container more of it "
    f"(docker run --shm-size=8g), or use fewer workers (train_dataloader.num_workers) or smaller batches. {_GO_ON}"
)
_PROCESS_HANGS = (
    "Another process of the job did not answer for {:g} seconds: it hangs, or its machine is down. If it is only "
    f"slow, set a longer env_cfg.dist_cfg.timeout. {_GO_ON}"
)
_PROCESS_ENDED = f"Another process of the job ended, so this one ended too. {_GO_ON}"
# What the system answers about a path that a user has named, or about what lies below it.
_UNREACHABLE = (errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.ENAMETOOLONG, errno.ESTALE)
# Files of Python and torch that pass batches between processes.
_TRANSPORT = ("resource_sharer.py", "reductions.py", "reduction.py", "connection.py", "queues.py", "synchronize.py")


class UsageError(ValueError):
    """A mistake in the user's input: a config, a path, a file, an argument.

    The message is one clear sentence that says what was found, what was expected and what to do. Commands print it
    without a traceback; any other exception is a defect of maetool and keeps its traceback.
    """

    def __str__(self) -> str:
        """Return the message on one line, even if it quotes text with line breaks."""
        return " ".join(super().__str__().splitlines())


class OutputError(UsageError):
    """An output file that cannot be written; a run continues without it unless it is a checkpoint."""


def printable(name: str) -> str:
    r"""Return a name with escapes for what is no UTF-8, as `caf\xe9` for Latin-1, so that pictures and logs take it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_interrupt(error: BaseException) -> bool:
    """Return whether an error is Ctrl-C, or was raised while handling it."""
    return any(isinstance(cause, KeyboardInterrupt) for cause in _causes(error))


def is_killed_loader(error: BaseException) -> bool:
    """Return whether an error reports a killed loader worker; it may be raised anywhere.

    torch raises a RuntimeError. If the worker was sending a batch, the connection breaks first. An error raised by code
    in a worker says "DataLoader worker process" instead.
    """
    text = str(error)
    if isinstance(error, RuntimeError):
        return "DataLoader worker (pid" in text or "Pin memory thread exited unexpectedly" in text
    broken = isinstance(error, ConnectionError | EOFError | FileNotFoundError)
    return broken and (_raised_in(error) in _TRANSPORT or "in pin memory thread" in text)


def failure_of_loading(error: BaseException) -> str:
    """Return the message for an error of loader workers; empty for any other error."""
    text = str(error).strip()
    last_line = text.rpartition("\n")[2].rstrip(". ")
    # torch's names in shared memory; the error may come from a worker, with its traceback as text
    full = isinstance(error, RuntimeError) and re.search(r"unable to .*</torch_", text)
    no_space = isinstance(error, OSError) and error.errno == errno.ENOSPC and _raised_in(error) in _TRANSPORT
    if full or no_space:
        return _SHARED_MEMORY_FULL.format(last_line)
    return _LOADER_DIED.format(last_line or type(error).__name__) if is_killed_loader(error) else ""


def failure_of_access(error: BaseException) -> str:
    """Return the message for a path that the system does not open for this user; empty for any other error."""
    if not isinstance(error, OSError) or error.errno not in _UNREACHABLE or not error.filename:
        return ""
    path = printable(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else error.filename
    return f"{path} cannot be used ({error.strerror}): make it accessible to this user, or name another path."


def failure_of_job(error: BaseException) -> str:
    """Return the message for an error in the communication of a job's processes; empty for any other error."""
    if not isinstance(error, RuntimeError):
        return ""
    if waited := re.search(r"[Tt]imed out waiting (?:for )?(\d+) ?ms", str(error)):
        return _PROCESS_HANGS.format(int(waited[1]) / 1000)
    gone = "gloo" in str(error) and re.search(r"closed by peer|reset by peer|[Bb]roken pipe", str(error))
    return _PROCESS_ENDED if gone else ""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _raised_in(error: BaseException) -> str:
    """Return the name of the source file that raised an error."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return PurePath(place.tb_frame.f_code.co_filename).name if place is not None else ""


__getattr__ = moved(__name__, {"tells_of_killed_loader": "maetool.errors.is_killed_loader"}, "0.3.0")
