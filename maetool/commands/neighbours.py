"""Draw what an encoder makes of a folder: neighbours, map, clusters.

Writes to OUT: neighbours.png, rows of an image and those with the most similar features; map.png, the first two
principal components of the features; clusters.png and clusters.csv, by k-means; patches.png, the principal components
of patch features as colours; attention.png, where the class token looks, of encoders that have attention among all
patches; and page.html, all of them in one file without anything else.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maetool.arguments import add_exif, add_max_pixels, not_negative, positive

if TYPE_CHECKING:
    from maetool.reports import Study

INTERRUPTED = "Stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="FOLDER", help="images: a folder, text list, table or shards")
    parser.add_argument(
        "--init", metavar="WEIGHTS", required=True, help="a checkpoint, maetool's or a published one, of any encoder"
    )
    parser.add_argument("--out", default="neighbours", help="folder of what is written (default: %(default)s)")
    parser.add_argument(
        "--images", type=positive, default=2000, metavar="N", help="use this many, evenly spaced (default: %(default)s)"
    )
    parser.add_argument("--queries", type=positive, default=8, metavar="N", help="rows of neighbours (default: 8)")
    parser.add_argument("--k", type=positive, default=7, help="neighbours in a row (default: %(default)s)")
    parser.add_argument("--clusters", type=positive, default=10, metavar="N", help="number of clusters (default: 10)")
    parser.add_argument("--config", help="config of the encoder, if the checkpoint does not describe it")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--workers", type=not_negative, help="loader processes (default: number of cores)")
    add_max_pixels(parser)
    add_exif(parser)
    return parser.parse_args()


def main() -> None:
    """Load, extract, draw, write."""
    args = parse_args()
    from maetool.config.load import load_config
    from maetool.pretrained.extract import build_whole
    from maetool.pretrained.frozen import load_frozen
    from maetool.pretrained.reading import reading_of
    from maetool.reports import study_of
    from maetool.reports.sections import Panels, study_sections
    from maetool.visualization import html
    from maetool.writing import check_folder, write_text

    out = check_folder(args.out, "--out")
    model = load_frozen(args.init, load_config(args.config) if args.config else None)
    dataset = build_whole(model, args.data, args.max_pixels, reading_of(args.init, args.exif))
    study = study_of(model, dataset, args.images, args.clusters, args.batch_size, args.workers)
    panels = Panels()
    drawn = {"neighbours": study.neighbours(args.queries, args.k), "clusters": study.clusters()}
    drawn |= panels.draw({"patches": study.patches, "attention": study.attention})
    written = _write(out, study, drawn)
    title = f"{Path(args.data).name} by {Path(args.init).name}"
    write_text(out / "page.html", html.page(title, [*study_sections(study, drawn), panels.left_out()]))
    for name, reason in panels.missing.items():
        print(f"{name} are left out: {reason}")
    print(f"{study.counted}: wrote {', '.join(written)} and page.html to {out}.")


def _write(out: Path, study: "Study", drawn: "dict[str, Any]") -> list[str]:
    """Write pictures and the table of clusters, and return the names of the files."""
    from maetool.visualization.features import principal_components
    from maetool.visualization.pictures import save_figure, save_picture
    from maetool.writing import write_csv

    pictures = {f"{name}.png": picture for name, picture in drawn.items()}
    for name, picture in pictures.items():
        save_picture(picture, out / name)
    save_figure(study.map(), out / "map.png")
    points = principal_components(study.features, 2).tolist()
    names = (study.images.name_of(i) for i in study.outputs["index"].tolist())
    places = ([f"{x:.5g}", f"{y:.5g}"] for x, y in points)
    rows = ([name, group, *place] for name, group, place in zip(names, study.groups.tolist(), places, strict=True))
    write_csv(out / "clusters.csv", [["path", "cluster", "x", "y"], *rows])
    return [*pictures, "map.png", "clusters.csv"]
