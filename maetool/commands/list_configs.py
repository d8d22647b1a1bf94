"""List all shipped configs, each with the first line of its docstring."""

import argparse

INTERRUPTED = "Stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="only configs with all of these words in their name or title, such as mae",
    )
    parser.add_argument(
        "--package", default="maetool", help="list the configs of this installed package (default: %(default)s)"
    )
    return parser.parse_args()


def main() -> None:
    """Print a line for each config: its name, which all commands accept, and its title.

    Raises:
        UsageError: no config has the words.
    """
    args = parse_args()
    from maetool.config.paths import config_names, describe, find_config
    from maetool.errors import UsageError

    rows = [(name, describe(find_config(name))) for name in config_names(args.package)]
    rows = [row for row in rows if all(word.lower() in " ".join(row).lower() for word in args.words)]
    if not rows:
        raise UsageError(
            f"No config of {args.package} has {' and '.join(args.words) or 'a name'} in its name or title: try fewer "
            "words."
        )
    width = max(len(name) for name, _ in rows)
    for name, title in rows:
        print(f"{name:{width}}  {title}".rstrip())
