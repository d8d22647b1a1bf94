"""Print the complete config of a run, and the origin of each value."""

import argparse

from maetool.arguments import add_cfg_options

INTERRUPTED = "Stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--data", metavar="FOLDER", help="as for training")
    add_cfg_options(parser)
    parser.add_argument("--only", default="", metavar="PREFIX", help="only values below PREFIX, such as model.encoder")
    parser.add_argument("--text", action="store_true", help="print a config file instead, without origins")
    return parser.parse_args()


def main() -> None:
    """Print every value of a config with the place that sets it.

    Raises:
        UsageError: there is nothing below --only, or, after the values, what training would refuse.
    """
    args = parse_args()
    from maetool.config.checks import check_config
    from maetool.config.load import load_for
    from maetool.config.origin import trace
    from maetool.errors import UsageError

    values = [row for row in trace(args.config, args.cfg_options, args.data) if _below(row[0], args.only)]
    if not values:
        raise UsageError(f"The config has no value below `{args.only}`: choose another --only, or leave it out.")
    cfg = load_for(args.config, args.cfg_options, args.data)[0]
    if args.text:
        print(cfg.pretty_text)
        check_config(cfg)
        return
    rows = [(f"{name} = {value!r}", origin) for name, value, origin in values]
    width = min(70, max(len(left) for left, _ in rows))
    for left, origin in rows:
        print(f"{left:{width}}  # {origin}")
    check_config(cfg)


def _below(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}.")
