r"""Draw the masks of a config, or of variants of it, and their statistics.

Example: maetool browse_masks maetool::colormae/vit-b_300e.py --out masks.png \
    --run "red model.masker.color=red" --run "blue model.masker.color=blue"
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maetool.arguments import add_max_pixels, positive

if TYPE_CHECKING:  # --help answers at once without them
    from torch import Tensor, nn


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="the config whose masker is drawn")
    parser.add_argument("--run", action="append", metavar='"NAME KEY=VALUE ..."', help="a row: a name and its options")
    parser.add_argument("--data", metavar="FOLDER", help="draw the masks on these images (default: drawn shapes)")
    parser.add_argument("--out", default="masks.png", help="path of the PNG (default: %(default)s)")
    parser.add_argument(
        "--draws", type=positive, default=2048, help="number of masks for the statistics (default: %(default)s)"
    )
    add_max_pixels(parser, "of --data are refused")
    return parser.parse_args()


def main() -> None:
    """Build the maskers, draw, print the statistics."""
    args = parse_args()
    from maetool.config.load import parse_runs
    from maetool.visualization.masks import masks_figure
    from maetool.visualization.pictures import check_picture, save_figure

    out = check_picture(args.out, "--out", figure=True)

    runs = parse_runs(args.run or [Path(args.config).stem])
    maskers, images, grid = masks_of(args.config, runs, args.data, args.max_pixels)
    figure, statistics = masks_figure(maskers, images, grid, args.draws)
    print(f"{'masker':<16} {'visible':>8} {'least':>7} {'most':>7} {'mean cluster':>13}")
    for name, s in statistics.items():
        row = f"{s.rate.mean():8.3f} {s.rate.min():7.3f} {s.rate.max():7.3f} {s.clusters.mean():13.1f}"
        print(f"{name:<16} {row}")
    save_figure(figure, out)
    print(f"Wrote {args.out}.")


def masks_of(
    path: str, runs: Mapping[str, Sequence[str]], data: str | None, max_pixels: int | None = None
) -> "tuple[dict[str, nn.Module], Tensor, Any]":
    """Return the maskers of several variants of a config, uint8 images (N, 3, H, W) to draw them on, and the grid.

    Args:
        path: the config.
        runs: options of each variant, by name.
        data: folder of images; None draws shapes.
        max_pixels: largest number of pixels of an image in the folder; None for the default.

    Raises:
        UsageError: an invalid option, variants with different grids, or `max_pixels` without `data`.
    """
    import torch

    from maetool.config.load import load_config
    from maetool.config.prepare import prepare_config
    from maetool.data.codecs.image_size import chosen_limit
    from maetool.errors import UsageError
    from maetool.registry import DATASETS, MODELS

    if max_pixels and not data:
        raise UsageError("--max-pixels applies to the images of --data, which is missing: leave it out, or add --data.")
    configs = {name: load_config(path, options) for name, options in runs.items()}
    models = {}
    for name, cfg in configs.items():
        prepare_config(cfg)
        models[name] = MODELS.build({**cfg.model, "data_preprocessor": None})
    first = next(iter(models.values())).encoder
    if any(model.encoder.grid != first.grid for model in models.values()):
        raise UsageError("The runs have different grids: use the same image size and patch size in all of them.")
    shapes = {"type": "ShapesDataset", "num_samples": 8, "img_size": first.img_size}
    folder: dict[str, Any] = {
        "type": "ImageFolderDataset",
        "root": data,
        "limit": 8,
        "max_pixels": chosen_limit(max_pixels),
    }
    folder["pipeline"] = [{"type": "ResizeCenterCrop", "size": first.img_size}]
    dataset = DATASETS.build(folder if data else shapes)
    images = torch.stack([dataset[i]["inputs"] for i in range(min(8, len(dataset)))])
    return {name: model.masker for name, model in models.items()}, images, first.grid
