"""Measure a folder of images: mean, deviation, sizes, channels, broken files.

The last line of the output can be appended to a `maetool train` command.
"""

import argparse

from maetool.arguments import add_max_pixels, positive

INTERRUPTED = "Stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder of images of any depth, text list, table, archive or folder of shards")
    parser.add_argument("--in-chans", type=positive, help="channels to read (default: 3, or that of most arrays)")
    parser.add_argument("--limit", type=positive, help="read only this many files, evenly spaced (default: all)")
    add_max_pixels(parser)
    parser.add_argument("--workers", type=positive, help="number of threads (default: number of cores)")
    parser.add_argument(
        "--broken", metavar="FILE", help="write the unreadable files to FILE, one per line with the reason"
    )
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = parse_args()
    from tqdm import tqdm

    from maetool.compat import usable_cores
    from maetool.data.codecs.image_size import chosen_limit
    from maetool.data.datasets.subsets import evenly_spaced
    from maetool.data.sources.kinds import open_source
    from maetool.inspection.statistics import measure, to_text
    from maetool.writing import check_file, write_text

    if args.broken:
        check_file(args.broken, "--broken")
    files = open_source(args.data, labelled=False)
    indices = evenly_spaced(len(files), args.limit).tolist()
    with tqdm(total=len(indices), unit="image", desc="images", dynamic_ncols=True, disable=None) as bar:
        workers, max_pixels = args.workers or usable_cores(), chosen_limit(args.max_pixels)
        statistics = measure(files, indices, args.in_chans, workers, bar.update, max_pixels)
    print(to_text(statistics, len(files)))
    if args.broken:
        write_text(args.broken, "".join(f"{line}\n" for line in statistics.broken))
