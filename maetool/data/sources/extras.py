"""Packages that only some sources need."""

from importlib.util import find_spec

from maetool.errors import UsageError

_PIP_NAMES = {"fsspec": "fsspec aiohttp"}


def need(package: str, user: str) -> None:
    """Check that a package is installed.

    Args:
        package: the name that it is imported by.
        user: what needs it.

    Raises:
        UsageError: it is not; the sentence has the line for pip.
    """
    if find_spec(package) is None:
        raise UsageError(
            f"{user} needs a package that is not installed: pip install {_PIP_NAMES.get(package, package)}."
        )
