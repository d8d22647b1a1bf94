"""Check what works on this machine, and how to fix what does not."""

import argparse
from collections.abc import Iterator

from maetool.errors import UsageError
from maetool.installation.packages import FAILS, Finding, guard, packages, system, to_lines
from maetool.messages import plural

INTERRUPTED = "Stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work-dir", default="work_dirs", help="folder of runs, which is tested (default: %(default)s)"
    )
    parser.add_argument("--slow", action="store_true", help="also test torch.compile, which takes up to a minute")
    return parser.parse_args()


def main() -> None:
    """Run all checks, and print each result immediately.

    Raises:
        UsageError: a requirement of maetool fails.
    """
    args = parse_args()
    failed = 0
    for finding in _findings(args):
        print(to_lines(finding), flush=True)
        failed += finding.state == FAILS
    if failed:
        raise UsageError(
            f"{plural(failed, 'requirement')} of maetool failed on this machine: the lines above say how to fix them."
        )
    print("\nAll requirements of maetool work on this machine.")


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    """Yield the installed packages first, then the trials, which need torch and all other packages."""
    yield system()
    yield from guard("installed packages", packages, "pip check")
    yield from guard("importing maetool", lambda: _trials(args), "fix the packages that fail above, then run it again")


def _trials(args: argparse.Namespace) -> Iterator[Finding]:
    from maetool.installation.trials import examine

    yield from examine(args.work_dir, args.slow)
