"""Turns failures to write pictures and logs into warnings."""

from collections.abc import Iterator
from contextlib import contextmanager

from maetool.errors import OutputError
from maetool.protocols import RunnerLike


@contextmanager
def training_goes_on(runner: RunnerLike, what: str) -> Iterator[None]:
    """Turn a write error, such as a full disk, into a warning of `runner.logger`.

    Args:
        runner: that trains.
        what: the work that may fail, as the subject of the warning.
    """
    try:
        yield
    except (OSError, OutputError) as error:
        # Formatted here: MMEngine's logger shows warnings of the same template only once.
        runner.logger.warning(f"{what} failed ({error}); training continues.")
