"""Pack images into shards that are fast to read."""

import argparse
from pathlib import Path

from maetool.arguments import add_max_pixels, positive

INTERRUPTED = "Stopped. The same command continues where it stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "source", help="folder of images of any depth, or text list; train and val inside are kept apart"
    )
    parser.add_argument("out", help="folder to write; the same command again continues where it stopped")
    parser.add_argument("--short-side", type=positive, default=256, help="shrink larger images to this many pixels")
    parser.add_argument("--quality", type=positive, default=90, help="quality of the JPEG files, 1 to 100")
    parser.add_argument("--layout", choices=["shards", "folder"], default="shards", help="tar files, or single files")
    parser.add_argument("--images-per-shard", type=positive, default=4096)
    parser.add_argument("--exif", action="store_true", help="turn photographs as EXIF says, as viewers show them")
    add_max_pixels(parser, "are left out")
    parser.add_argument("--workers", type=positive, help="number of processes (default: number of cores)")
    return parser.parse_args()


def main() -> None:
    """Prepare each part of the data and report what was left out."""
    args = parse_args()
    # Imported here so that --help answers at once.
    from tqdm import tqdm

    from maetool.compat import usable_cores
    from maetool.data.codecs.image_size import chosen_limit
    from maetool.data.prepare.prepare import REPORT, Recipe, prepare
    from maetool.data.sources.file_index import index_files
    from maetool.writing import check_folder

    max_pixels = chosen_limit(args.max_pixels)
    recipe = Recipe(args.short_side, args.quality, args.layout, args.images_per_shard, args.exif)
    source, out = Path(args.source), check_folder(args.out, "OUT")
    split = all((source / part).is_dir() for part in ("train", "val"))
    for part in ("train", "val") if split else (".",):
        total = len(index_files(source / part))
        with tqdm(total=total, unit="image", dynamic_ncols=True, desc=part if split else None) as bar:
            workers = args.workers or usable_cores()
            written, left_out = prepare(str(source / part), str(out / part), recipe, workers, bar.update, max_pixels)
        print(f"{written:,} images are in {out / part}; {len(left_out):,} were left out.")
        for line in left_out[:5]:
            print(f"  {line}")
        if left_out:
            print(f"  The complete list, with reasons: {out / part / REPORT}")
    print(f"Train on them with --data {out}")
