"""URLs as places of data, and patterns that name many files."""

import re
from pathlib import Path
from typing import Any

from maetool.errors import UsageError

NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST_NAMES = 10**6


def is_url(place: str | Path) -> bool:
    """Return whether a place is a URL such as `s3://bucket/folder`."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", str(place)) is not None


def refuse_url(place: str | Path | None, of_what: str) -> None:
    """Check that a place is on this machine.

    Args:
        place: path or URL; None is no place.
        of_what: the argument that names it, for the message.

    Raises:
        UsageError: it is a URL.
    """
    if place is not None and is_url(place):
        raise UsageError(
            f"{of_what} is {place}, but must be on this machine: download it, or read images and archives at URLs by "
            "--data URL or by a SourceDataset of a RemoteSource, ArchiveSource, WebDatasetSource or ShardSource."
        )


def refuse_without_url(root: str | Path, **arguments: Any) -> None:
    """Check that arguments which are for URLs alone are not given for `root`, a place on this machine.

    Raises:
        UsageError: one is.
    """
    given = [name for name, value in arguments.items() if value is not None]
    if given and not is_url(root):
        raise UsageError(f"{', '.join(given)} are for URLs, but {root} is on this machine: leave them out.")


def numbered(pattern: str) -> list[str]:
    """Return the names that a pattern such as `train-{000..146}.tar` stands for.

    Raises:
        UsageError: a million names or more.
    """
    match = NUMBERS.search(pattern)
    if not match:
        return [pattern]
    first, last, digits = int(match[1]), int(match[2]), len(match[1])
    if last - first >= _MOST_NAMES:
        raise UsageError(f"{pattern} stands for more than {_MOST_NAMES:,} names: correct the numbers.")
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [name for n in range(first, last + 1) for name in numbered(f"{before}{n:0{digits}d}{after}")]
