"""Versions and revision that produced a result."""

import platform
import subprocess
from functools import cache
from pathlib import Path

import mmengine
import torch

from maetool import __version__


@cache
def git_revision() -> str:
    """Return the revision of maetool's repository, "with changes" if files differ from it, or "no repository"."""
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / ".git").exists():  # an installed package may be inside another repository
        return "no repository"
    try:
        revision = _git(package, "rev-parse", "--short=12", "HEAD")
        # Without a lock, which a run that is killed here would leave behind, and which a commit made meanwhile meets.
        changed = _git(package, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "no repository"
    return f"{revision} with changes" if changed else revision


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def versions() -> dict[str, str]:
    """Return the versions that a result depends on, and the revision of maetool's repository."""
    return {
        "maetool": __version__,
        "revision": git_revision(),
        "torch": str(torch.__version__),
        "mmengine": mmengine.__version__,
        "python": platform.python_version(),
    }
