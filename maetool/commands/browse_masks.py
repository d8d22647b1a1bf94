r"""Draw the masks of a config, or of variants of it, and their statistics.

Example: maetool browse_masks maetool::colormae/vit-b_300e.py --out masks.png \
    --run "red model.masker.color=red" --run "blue model.masker.color=blue"
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maetool.arguments import add_max_pixels, positive

if TYPE_CHECKING:  # --help answers at once without it
    from torch import nn


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
) -> "tuple[dict[str, nn.Module], Any, Any]":
    """Return the maskers of several variants of a config, images to draw them on, and the grid.

    A masker that looks at images, tokens or attention gets those of the images, from untrained weights. Of an encoder
    of several streams there is a masker for each, and images and grids are mappings from their names.

    Args:
        path: the config.
        runs: options of each variant, by name.
        data: folder of images; None draws shapes, or takes the config's own data where the encoder reads no images.
        max_pixels: largest number of pixels of an image in the folder; None for the default.

    Raises:
        UsageError: an invalid option, variants with different grids, or `max_pixels` without `data`.
    """
    from maetool.config.load import load_config
    from maetool.config.prepare import prepare_config
    from maetool.errors import UsageError
    from maetool.models.pairing import grids_of
    from maetool.pretrained.model import masks_of_models
    from maetool.registry import MODELS

    if max_pixels and not data:
        raise UsageError("--max-pixels applies to the images of --data, which is missing: leave it out, or add --data.")
    configs = {name: load_config(path, options) for name, options in runs.items()}
    models = {}
    for name, cfg in configs.items():
        prepare_config(cfg)
        models[name] = MODELS.build(cfg.model).eval()
    (first, *_), (cfg, *_) = models.values(), configs.values()
    grids = grids_of(first.encoder)
    if any(grids_of(model.encoder) != grids for model in models.values()):
        raise UsageError("The runs have different grids: use the same image size and patch size in all of them.")
    return masks_of_models(models, _inputs_of(_dataset_of(first, cfg, data, max_pixels)))


def _dataset_of(model: Any, cfg: Any, data: str | None, max_pixels: int | None) -> Any:
    """Return the images to draw masks on: of a folder, drawn ones, or what the config validates on."""
    from maetool.data.codecs.image_size import chosen_limit
    from maetool.engine.launch import build_dataset
    from maetool.pretrained.extract import build_for
    from maetool.pretrained.model import encoder_shape
    from maetool.registry import DATASETS

    if data:
        place = {"type": "ImageFolderDataset", "root": data, "limit": 8, "max_pixels": chosen_limit(max_pixels)}
        return build_for(model, place)
    shape = encoder_shape(model.encoder) or ()
    if len(shape) not in (3, 4) or not hasattr(model.encoder, "img_size"):
        return build_dataset(cfg, "val_dataloader")
    drawn: dict[str, Any] = {"num_samples": 8, "in_chans": shape[0], "img_size": shape[-2:]}
    if len(shape) == 3:
        return DATASETS.build({"type": "ShapesDataset", **drawn})
    return DATASETS.build({"type": "MovingShapesDataset", "frames": shape[1], **drawn})


def _inputs_of(dataset: Any) -> Any:
    """Return the first inputs of a dataset, (N, C, *size), or a mapping of streams or views to them."""
    from torch.utils.data import default_collate

    return default_collate([dataset[number]["inputs"] for number in range(min(8, len(dataset)))])
