"""Predict classes, numbers, masks or boxes for images, and draw them.

Classifiers: the most likely classes. Regressors: the numbers. Segmentors: the classes of the pixels over the
image, and a PNG of class numbers. Detectors: boxes, masks and scores. Everything is written to a folder,
with predictions.json, and for classifiers and regressors predictions.csv. If --out is a file, .json, .parquet or
.csv, only that is written, and nothing is drawn. Processes of torchrun share the images.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from maetool.arguments import add_cfg_options, add_max_pixels, not_negative, positive

_SHOWN = 20  # images whose class or numbers are printed
_NAMED = 3  # broken files that are named


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the config that the checkpoint was trained with")
    parser.add_argument("checkpoint", help="path of a .pth file")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument(
        "--out",
        default="predictions",
        metavar="PATH",
        help="folder, or a file for the predictions alone (default: %(default)s)",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="for detectors: lowest score of objects to report (default: 0.5)",
    )
    parser.add_argument("--batch-size", type=positive, default=16)
    parser.add_argument("--workers", type=not_negative, help="processes that read images (default: number of cores)")
    add_cfg_options(parser)
    add_max_pixels(parser, "count as broken")
    return parser.parse_args()


def main() -> None:
    """Load the model, predict, write."""
    args = parse_args()
    from maetool.parallel.groups import group_of_torchrun
    from maetool.pretrained.predict import images_at
    from maetool.pretrained.predict_files import check_out, gathered

    with group_of_torchrun() as first:
        trained = _load(args)
        out = check_out(args.out, trained)
        paths, results = list(images_at(args.images)), dict[int, Any]()
        try:
            _predict(args, trained, paths, out, results)
        except BaseException:  # predictions are kept if a picture cannot be written, or nobody waits for the rest
            _write(results, out)
            raise
        results = dict(sorted(gathered(list(results.items()))))
        if first:
            _report(results, paths, out)


def _load(args: argparse.Namespace) -> Any:
    from maetool.config.facts import task_of
    from maetool.config.load import load_config
    from maetool.errors import UsageError
    from maetool.pretrained.predict import load_trained

    trained = load_trained(load_config(args.config, args.cfg_options), args.checkpoint)
    task = task_of(trained.model)
    if args.threshold is not None and task != "detection":
        raise UsageError(f"--threshold is for detectors, but this is a model for {task}: leave it out.")
    threshold = trained.threshold if args.threshold is None else args.threshold
    return replace(trained, threshold=threshold, max_pixels=args.max_pixels or trained.max_pixels)


def _predict(args: argparse.Namespace, trained: Any, paths: Sequence[str], out: Path, results: dict[int, Any]) -> None:
    """Fill `results` with the records of this process, or why a file cannot be read; draw, if `out` is a folder."""
    from mmengine.dist import get_rank, get_world_size

    from maetool.pretrained.predict_files import is_table, name_of_picture, predict_files
    from maetool.visualization.pictures import save_picture

    draw = not is_table(out)
    part = (get_rank(), get_world_size())
    for number, prediction in predict_files(trained, paths, args.batch_size, args.workers, draw, part):
        if isinstance(prediction, str):
            results[number] = prediction
            continue
        name = name_of_picture(number, paths[number])
        results[number] = {**prediction.record, **({"picture": f"{name}.png"} if draw else {})}
        if draw:
            save_picture(prediction.picture, out / f"{name}.png")
        for kind, values in prediction.maps.items():
            save_picture(values, out / f"{name}_{kind}.png")


def _write(results: dict[int, Any], out: Path) -> tuple[list[Any], str]:
    """Write the records among the results; return these, and the names of what was written."""
    from maetool.pretrained.predict import table_of
    from maetool.pretrained.predict_files import is_table, write_table

    records = [record for record in results.values() if not isinstance(record, str)]
    if not records:
        return records, ""
    if is_table(out):
        write_table(out, records)
        return records, f"Wrote {len(records):,} predictions to {out}"
    names = ["predictions.json", *["predictions.csv"] * bool(table_of(records))]
    for name in names:
        write_table(out / name, records)
    pictures = f"{len(records):,} picture" + "s" * (len(records) != 1)
    return records, f"Wrote {pictures} and {' and '.join(names)} to {out}"


def _report(results: dict[int, Any], paths: Sequence[str], out: Path) -> None:
    """Write, and print the first predictions and what could not be read."""
    from maetool.errors import UsageError
    from maetool.pretrained.predict import line_of

    broken = {paths[number]: reason for number, reason in results.items() if isinstance(reason, str)}
    records, written = _write(results, out)
    if not records:
        raise UsageError(next(iter(broken.values()), "There is no image."))
    for line in filter(None, map(line_of, records[:_SHOWN])):
        print(line)
    for reason in list(broken.values())[:_NAMED]:
        print(reason)
    print(f"{written}." if not broken else f"{written}; {len(broken):,} of {len(results):,} images cannot be read.")
