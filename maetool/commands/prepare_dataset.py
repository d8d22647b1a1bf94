"""Pack images into shards that are fast to read."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from maetool.arguments import add_max_pixels, add_parts, positive

if TYPE_CHECKING:
    from maetool.data.prepare.prepare import Recipe
    from maetool.division import Part

INTERRUPTED = "Stopped. The same command continues where it stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "source", help="folder of images of any depth, or text list; train, val and test inside are kept apart"
    )
    parser.add_argument("out", help="folder to write; the same command again continues where it stopped")
    parser.add_argument("--short-side", type=positive, default=256, help="shrink larger images to this many pixels")
    parser.add_argument("--quality", type=positive, default=90, help="quality of the JPEG files, 1 to 100")
    parser.add_argument("--layout", choices=["shards", "folder"], default="shards", help="tar files, or single files")
    parser.add_argument("--images-per-shard", type=positive, default=4096)
    parser.add_argument("--exif", action="store_true", help="turn photographs as EXIF says, as viewers show them")
    add_max_pixels(parser, "are left out")
    parser.add_argument("--workers", type=positive, help="number of processes (default: number of cores)")
    add_parts(parser)
    return parser.parse_args()


def main() -> None:
    """Prepare each part of the data and report what was left out."""
    args = parse_args()
    # Imported here so that --help answers at once.
    from maetool.config.layouts.places import part_folders
    from maetool.data.codecs.image_size import chosen_limit
    from maetool.data.prepare.join import join
    from maetool.data.prepare.prepare import REPORT, Recipe
    from maetool.division import Part
    from maetool.writing import check_folder

    max_pixels, part = chosen_limit(args.max_pixels), Part.of(args.part) if args.part else None
    recipe = Recipe(args.short_side, args.quality, args.layout, args.images_per_shard, args.exif)
    source, out = Path(args.source), check_folder(args.out, "OUT")
    parts = part_folders(source) if source.is_dir() else {}
    for name, folder in parts.items() or ((".", source),):
        places = str(folder), str(out / name)
        if args.join:
            written, left_out = join(*places, recipe, max_pixels)
        else:
            written, left_out = _prepare(*places, recipe, args.workers, max_pixels, part, name if parts else None)
        print(f"{written:,} images are in {out / name}; {len(left_out):,} were left out.")
        for line in left_out[:5]:
            print(f"  {line}")
        if left_out and not part:
            print(f"  The complete list, with reasons: {out / name / REPORT}")
    print(
        f"Part {part} is done; when all are, the same command joins them with --join in the place of --part."
        if part
        else f"Train on them with --data {out}"
    )


def _prepare(
    source: str,
    target: str,
    recipe: "Recipe",
    workers: int | None,
    max_pixels: int,
    part: "Part | None",
    title: str | None,
) -> tuple[int, list[str]]:
    from tqdm import tqdm

    from maetool.compat import usable_cores
    from maetool.data.prepare.prepare import Job, prepare
    from maetool.division import Part

    images = len(Job.of(source, target, recipe).images_of(part or Part(0, 1)))
    if not images:
        print(f"Part {part} has no images of {source}: there are fewer shards than parts; see --images-per-shard.")
    with tqdm(total=images, unit="image", dynamic_ncols=True, desc=title, disable=None) as bar:
        return prepare(source, target, recipe, workers or usable_cores(), bar.update, max_pixels, part)
