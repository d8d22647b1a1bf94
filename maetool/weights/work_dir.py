"""The checkpoints in the folder of a run, and the pointer to the last one."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from maetool.errors import UsageError
from maetool.reading import read_file
from maetool.writing import as_output_error, replace_file

from .read import read_checkpoint

POINTER = "last_checkpoint"
_LONGEST_NAME = 2**12  # bytes


def save_as_last(path: Path) -> None:
    """Point a work folder's `last_checkpoint` to `path`; called only after that file is complete.

    Raises:
        UsageError: the pointer cannot be written; it still names the previous checkpoint.
    """
    pointer = path.with_name(POINTER)
    with as_output_error(pointer):
        replace_file(pointer, lambda file: file.write(path.name.encode()))


def checkpoints_in(work_dir: Path) -> list[Path]:
    """Return the checkpoints of a work folder, newest first, with the one that the pointer names in front.

    Args:
        work_dir: folder of a run.
    """
    files = [path for path in work_dir.glob("*.pth") if path.is_file()]  # links may be broken
    newest_first = sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)
    last = _named_by(work_dir / POINTER)
    return [last, *(path for path in newest_first if path != last)] if last in newest_first else newest_first


def _named_by(pointer: Path) -> Path | None:
    try:
        # By name only: MMEngine's hook writes a path, which is wrong after the folder is moved.
        return pointer.parent / Path(os.fsdecode(read_file(pointer, _LONGEST_NAME).strip())).name
    except OSError:
        return None  # absent, or not a file: use the newest checkpoint


def newest_readable(work_dir: Path, warn: Any) -> Path | None:
    """Return the newest readable checkpoint, and call `warn` for unreadable ones; None if there is none.

    Checkpoints with weights alone come last.

    Args:
        work_dir: folder of a run.
        warn: called with a sentence for each file that cannot be read.

    Raises:
        UsageError: there are checkpoints, but none can be read.
    """
    candidates, weights = checkpoints_in(work_dir), None
    for path in candidates:
        try:
            if "optimizer" in read_checkpoint(path, "meta"):
                return path
            weights = weights or path  # such as the best one, which cannot be resumed
        except UsageError as error:
            warn(f"{error} Trying the previous checkpoint.")
    if weights:
        return weights
    if candidates:
        raise UsageError(
            f"None of the {len(candidates)} checkpoints in {work_dir} can be read: start a new run in another folder."
        )
    return None


def trained_seed(work_dir: str | Path, path: str | Path | None) -> int | None:
    """Return the seed in the checkpoint that a run would resume from; None if it cannot be read, or has none.

    Args:
        work_dir: folder whose newest checkpoint is used if no path is given.
        path: the checkpoint, or None.
    """
    with suppress(UsageError):  # loading it reports the error
        path = path or newest_readable(Path(work_dir), lambda _: None)
        seed = (read_checkpoint(path, "meta").get("meta") or {}).get("seed") if path else None
        return seed if type(seed) is int else None
    return None
