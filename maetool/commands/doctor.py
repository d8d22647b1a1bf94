"""Says what works here and what does not, each by trying it, and what to type where something is missing."""

import argparse

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
    from maetool.engine.doctor import FAILS, examine, to_lines
    from maetool.errors import UsageError

    failed = 0
    for finding in examine(args.work_dir, args.slow):
        print(to_lines(finding), flush=True)
        failed += finding.state == FAILS
    if failed:
        raise UsageError(f"{failed} of the things that maetool needs do not work here; the lines above say what to do.")
    print("\nEverything that maetool needs works here.")
