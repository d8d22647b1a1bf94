"""Where a result comes from."""

import subprocess
from functools import cache
from pathlib import Path


@cache
def git_revision() -> str:
    """Return the revision of maetool's repository, "with changes" if files differ from it, or "no repository"."""
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / ".git").exists():  # an installed package may lie in somebody else's repository
        return "no repository"
    try:
        revision = _git(package, "rev-parse", "--short=12", "HEAD")
        changed = _git(package, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "no repository"
    return f"{revision} with changes" if changed else revision


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
