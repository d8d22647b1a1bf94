"""Write a data set of drawn shapes to a folder."""

import argparse

from maetool.arguments import positive


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="folder to write; must be new or empty")
    parser.add_argument(
        "--layout",
        default="ade20k",
        help="ade20k or coco, as those data sets have it, or classes: a folder for each (default: %(default)s)",
    )
    parser.add_argument(
        "--train", type=positive, default=800, metavar="N", help="number of training pictures (default: 800)"
    )
    parser.add_argument(
        "--val", type=positive, default=200, metavar="N", help="number of validation pictures (default: 200)"
    )
    parser.add_argument(
        "--size",
        type=positive,
        nargs="+",
        default=[64],
        metavar="PIXELS",
        help="side, or height and width, of a picture",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawing (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Draw and write."""
    args = parse_args()
    from maetool.data.drawn.layouts import write_shapes
    from maetool.writing import check_folder

    size = args.size[0] if len(args.size) == 1 else args.size
    check_folder(args.folder, "FOLDER")
    write_shapes(args.folder, args.layout, args.train, args.val, size, args.seed)
    print(f"Wrote {args.train} training and {args.val} validation pictures to {args.folder}.")
