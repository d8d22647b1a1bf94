"""Predict classes, numbers, masks or boxes for images, and draw them.

Classifiers: the most likely classes. Regressors: the numbers. Segmentors: the classes of the pixels over the
image, and a PNG of class numbers. Detectors: boxes, masks and scores. Everything is written to a folder,
with predictions.json.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from maetool.arguments import add_cfg_options, add_max_pixels


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the config that the checkpoint was trained with")
    parser.add_argument("checkpoint", help="path of a .pth file")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files")
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
    from maetool.pretrained.predict import load_trained, predict
    from maetool.visualization.pictures import save_picture
    from maetool.writing import check_folder, write_text

    folder, records = check_folder(args.out, "--out"), []
    trained = load_trained(load_config(args.config, args.cfg_options), args.checkpoint)
    trained = replace(trained, threshold=args.threshold, max_pixels=args.max_pixels or trained.max_pixels)
    try:
        for number, path in enumerate(args.images):
            # Files of two folders may share a name.
            prediction, name = predict(trained, path), f"{number:03d}_{Path(path).stem}"
            records.append({**prediction.record, "picture": f"{name}.png"})
            save_picture(prediction.picture, folder / f"{name}.png")
            for kind, values in prediction.maps.items():
                save_picture(values, folder / f"{name}_{kind}.png")
    finally:  # predictions are kept if a later image cannot be read or a picture cannot be written
        if records:
            write_text(folder / "predictions.json", json.dumps(records, indent=2) + "\n")
    print(f"Wrote {len(records)} picture(s) and predictions.json to {folder}.")
