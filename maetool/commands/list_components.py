"""List the registered parts, with their arguments and origins."""

import argparse

INTERRUPTED = "Stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="?", help="only these, such as masker, encoder, target or hook (default: all)")
    return parser.parse_args()


def main() -> None:
    """List."""
    args = parse_args()
    from maetool.engine.components import components, to_text
    from maetool.plugins import describe_plugins

    print(f"{to_text(components(args.kind))}\n\n{describe_plugins()}")
