"""Draw a pretrained model's reconstructions of masked images."""

import argparse

from maetool.arguments import add_cfg_options, add_max_pixels, positive


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the config that the checkpoint was trained with")
    parser.add_argument("checkpoint", help="path of a .pth file")
    parser.add_argument("--data", metavar="FOLDER", help="draw these images instead of the config's validation data")
    parser.add_argument("--out", default="reconstruction.png", help="path of the PNG (default: %(default)s)")
    parser.add_argument("--num", type=positive, default=8, help="number of images (default: %(default)s)")
    parser.add_argument(
        "--statistics",
        choices=["true", "visible"],
        default="true",
        help=(
            "mean and deviation for normalised predictions: those of the hidden patches, or those of the visible "
            "patches"
        ),
    )
    add_cfg_options(parser)
    add_max_pixels(parser)
    return parser.parse_args()


def main() -> None:
    """Load the model, draw, write."""
    args = parse_args()
    from maetool.config.load import load_for
    from maetool.config.user_data import limit_pixels
    from maetool.engine.launch import build_dataset
    from maetool.pretrained.model import load_model
    from maetool.pretrained.reading import read_as_trained
    from maetool.visualization.pictures import check_picture, save_picture
    from maetool.visualization.reconstruction import first_samples, reconstruction_panel

    out = check_picture(args.out, "--out")
    cfg, _ = load_for(args.config, args.cfg_options, args.data)
    read_as_trained(cfg, args.checkpoint)
    model = load_model(cfg, args.checkpoint)
    loader = "val_dataloader" if cfg.get("val_dataloader") else "train_dataloader"
    limit_pixels(cfg[loader].dataset, args.max_pixels)
    dataset = build_dataset(cfg, loader)
    batch = first_samples(dataset, args.num, cfg.get("randomness", {}).get("seed"))
    save_picture(reconstruction_panel(model, batch, args.statistics), out)
    print(f"Wrote {args.out}.")
