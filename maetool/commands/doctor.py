"""Check what works on this machine, and say how to fix what does not."""

import argparse
from collections.abc import Iterator

from maetool.errors import UsageError
from maetool.installation.packages import FAILS, Finding, guard, packages, system, to_lines

INTERRUPTED = "Stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", default="work_dirs", help="where runs would write (default: %(default)s)")
    parser.add_argument("--slow", action="store_true", help="try torch.compile too, which takes up to a minute")
    return parser.parse_args()


def main() -> None:
    """Try everything and tell at once."""
    args = parse_args()
    failed = 0
    for finding in _findings(args):
        print(to_lines(finding), flush=True)
        failed += finding.state == FAILS
    if failed:
        raise UsageError(f"{failed} of the things that maetool needs do not work here; the lines above say what to do.")
    print("\nEverything that maetool needs works here.")


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    """Yield what is installed, and then what works; the second needs torch and everything else."""
    yield system()
    yield from guard("installed packages", packages, "pip check")
    yield from guard("importing maetool", lambda: _trials(args), "mend the packages that fail above; then run it again")


def _trials(args: argparse.Namespace) -> Iterator[Finding]:
    from maetool.installation.trials import examine

    yield from examine(args.work_dir, args.slow)
