"""Write the features of images, unmasked, to a file."""

import argparse

from maetool.arguments import add_max_pixels, not_negative, positive

INTERRUPTED = "Stopped; nothing was written."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="a checkpoint of pretraining, of a classifier or of an exported encoder")
    parser.add_argument("--data", metavar="FOLDER", required=True, help="folder, text list, table, or shards")
    parser.add_argument("--out", metavar="FILE", required=True, help=".npz, or .parquet with pyarrow installed")
    parser.add_argument(
        "--pool",
        choices=["mean", "cls", "tokens"],
        help=(
            "mean of the patch tokens, class token, or all patch tokens (default: mean, or a classifier's own pooling)"
        ),
    )
    parser.add_argument("--config", help="config of the encoder, if the checkpoint does not describe it")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--workers", type=not_negative, help="loader processes (default: number of cores)")
    add_max_pixels(parser)
    return parser.parse_args()


def main() -> None:
    """Load, extract, write."""
    args = parse_args()
    from maetool.config.load import load_config
    from maetool.pretrained.extract import build_whole, check_out, extract, write_features
    from maetool.pretrained.frozen import features_of, load_frozen

    out = check_out(args.out)
    model = load_frozen(args.checkpoint, load_config(args.config) if args.config else None)
    dataset = build_whole(model, args.data, args.max_pixels)
    features = {"features": features_of(model, args.pool)}
    outputs = extract(model, dataset, features, batch_size=args.batch_size, workers=args.workers)
    names = [dataset.name_of(i) for i in outputs["index"].tolist()]
    write_features(out, outputs["features"].numpy(), names, outputs.get("label"), dataset.classes)
    classes = f"labels of {len(dataset.classes)} classes" if dataset.classes else "no labels"
    shape = " x ".join(map(str, outputs["features"].shape[1:]))
    print(f"{out}: {len(names):,} images, {shape} numbers each, {classes}; {len(dataset) - len(names)} unreadable.")
