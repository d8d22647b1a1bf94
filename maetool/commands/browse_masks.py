r"""Draw the masks of a config, or of variants of it, and their statistics.

Example: maetool browse_masks maetool::colormae/vit-b_300e.py --out masks.png \
    --run "red model.masker.color=red" --run "blue model.masker.color=blue"
"""

import argparse
from pathlib import Path

from maetool.arguments import add_max_pixels, positive


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="the config whose masker is drawn")
    parser.add_argument("--run", action="append", metavar='"NAME KEY=VALUE ..."', help="a row: a name and its options")
    parser.add_argument("--data", metavar="FOLDER", help="lay the masks on these images (default: drawn shapes)")
    parser.add_argument("--out", default="masks.png", help="path of the PNG (default: %(default)s)")
    parser.add_argument("--draws", type=positive, default=2048, help="masks for the statistics (default: %(default)s)")
    add_max_pixels(parser, "of --data are refused")
    return parser.parse_args()


def main() -> None:
    """Build the maskers, draw, print the statistics."""
    args = parse_args()
    from maetool.engine.config import parse_runs
    from maetool.engine.launch import masks_of
    from maetool.visualization.masks import masks_figure
    from maetool.visualization.pictures import check_picture, save_figure

    out = check_picture(args.out, "--out", figure=True)

    runs = parse_runs(args.run or [Path(args.config).stem])
    maskers, images, grid = masks_of(args.config, runs, args.data, args.max_pixels)
    figure, found = masks_figure(maskers, images, grid, args.draws)
    print(f"{'masker':<16} {'visible':>8} {'least':>7} {'most':>7} {'mean cluster':>13}")
    for name, s in found.items():
        row = f"{s.rate.mean():8.3f} {s.rate.min():7.3f} {s.rate.max():7.3f} {s.clusters.mean():13.1f}"
        print(f"{name:<16} {row}")
    save_figure(figure, out)
    print(f"Wrote {args.out}.")
