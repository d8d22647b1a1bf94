"""Packages that only some sources need."""

from maetool.compat import is_installed
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
    if not is_installed(package):
        raise UsageError(
            f"{user} needs a package that is not installed: pip install {_PIP_NAMES.get(package, package)}."
        )
