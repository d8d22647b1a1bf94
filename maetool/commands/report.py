"""Write what runs are like to one page of HTML that needs no other file.

One run: results, curves, pictures, masks, neighbours, map, attention, confusion, worst cases, config with origins,
versions and commands. Several runs, or the folder that `maetool compare` wrote: side by side, with the differences of
their configs; runs that differ in their seed only are one row, with the spread.
"""

import argparse
from pathlib import Path

from maetool.arguments import not_negative

INTERRUPTED = "Stopped; nothing was written."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="WORK_DIR", help="work folders")
    parser.add_argument("--out", metavar="FILE", help="the page, .html (default: report.html in the first WORK_DIR)")
    parser.add_argument(
        "--images",
        type=not_negative,
        default=300,
        metavar="N",
        help="validation images for neighbours, map, confusion and worst cases of one run (default: 300; 0 for none)",
    )
    parser.add_argument("--data", metavar="FOLDER", help="images in place of the run's own, such as those that moved")
    return parser.parse_args()


def main() -> None:
    """Read, draw, write."""
    args = parse_args()
    from maetool.reports import run_page
    from maetool.visualization.html import check_page
    from maetool.writing import write_text

    folders = [Path(run) for run in args.runs]
    out = check_page(args.out or folders[0] / "report.html", "--out")
    page = run_page(folders, args.images, data=args.data)
    write_text(out, page)
    print(f"Wrote {out}, {len(page.encode()) / 1e6:.1f} MB.")
