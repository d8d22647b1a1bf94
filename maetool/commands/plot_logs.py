"""Plot the logged values of one or more runs."""

import argparse
from pathlib import Path

from maetool.arguments import positive


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs", nargs="+", help="work folders, or folders that hold several, such as the seeds of a comparison"
    )
    parser.add_argument("--keys", nargs="+", default=["loss"], help="values to draw, a panel each (default: loss)")
    parser.add_argument("--smooth", type=positive, default=1, metavar="N", help="average over N reports")
    parser.add_argument("--out", default="curves.png", help="path of the picture (default: curves.png)")
    return parser.parse_args()


def main() -> None:
    """Draw."""
    args = parse_args()
    from maetool.evaluation.names import metric_name
    from maetool.visualization.curves import draw_runs, read_runs
    from maetool.visualization.pictures import check_picture

    out = check_picture(args.out, "--out", figure=True)

    runs = read_runs([Path(run) for run in args.runs], args.keys)
    entries = {key: metric_name(key.removeprefix("val/")) for key in args.keys if key.startswith("val/")}
    words = {key: f"{entry.heading} (validation)" for key, entry in entries.items() if entry}
    draw_runs(runs, args.keys, args.smooth, out, words)
    print(f"{args.out}: {', '.join(args.keys)} of {', '.join(runs)}")
