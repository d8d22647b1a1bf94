"""Predict classes, numbers, masks or boxes for images, and draw them.

Classifiers: the most likely classes. Regressors: the numbers. Segmentors: the classes of the pixels over the
image, and a PNG of class numbers. Detectors: boxes, masks and scores. Everything is written to a folder,
with predictions.json, and for classifiers and regressors predictions.csv.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from maetool.arguments import add_cfg_options, add_max_pixels

_SHOWN = 20  # images whose class or numbers are printed


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the config that the checkpoint was trained with")
    parser.add_argument("checkpoint", help="path of a .pth file")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--out", default="predictions", metavar="FOLDER", help="where to write (default: %(default)s)")
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.5,
        metavar="SCORE",
        help="for detectors: lowest score of objects to report (default: %(default)s)",
    )
    add_cfg_options(parser)
    add_max_pixels(parser, "are refused")
    return parser.parse_args()


def main() -> None:
    """Load the model, predict, write."""
    args = parse_args()
    from maetool.config.load import load_config
    from maetool.pretrained.predict import images_at, load_trained, predict, table_of
    from maetool.visualization.pictures import save_picture
    from maetool.writing import check_folder, write_csv, write_text

    folder, records = check_folder(args.out, "--out"), []
    trained = load_trained(load_config(args.config, args.cfg_options), args.checkpoint)
    trained = replace(trained, threshold=args.threshold, max_pixels=args.max_pixels or trained.max_pixels)
    try:
        for number, path in enumerate(images_at(args.images)):
            # Files of two folders may share a name.
            prediction, name = predict(trained, path), f"{number:03d}_{Path(path).stem}"
            records.append({**prediction.record, "picture": f"{name}.png"})
            save_picture(prediction.picture, folder / f"{name}.png")
            for kind, values in prediction.maps.items():
                save_picture(values, folder / f"{name}_{kind}.png")
    finally:  # predictions are kept if a later image cannot be read or a picture cannot be written
        if records:
            write_text(folder / "predictions.json", json.dumps(records, indent=2) + "\n")
        if table := table_of(records):
            write_csv(folder / "predictions.csv", table)
    for row in table[1 : _SHOWN + 1]:
        print("  ".join(map(str, row)))
    pictures = f"{len(records):,} picture" + "s" * (len(records) != 1)
    print(f"Wrote {pictures} and predictions.json{' and predictions.csv' * bool(table)} to {folder}.")
