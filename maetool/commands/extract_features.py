"""Write the features of images, unmasked, to a file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maetool.arguments import add_exif, add_max_pixels, add_parts, not_negative, positive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from maetool.protocols import ModelLike, NamedImages

INTERRUPTED = "Stopped; nothing was written."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="a checkpoint of pretraining, of a classifier or of an exported encoder")
    parser.add_argument("--data", metavar="FOLDER", required=True, help="folder, picture, text list, table, or shards")
    parser.add_argument("--out", metavar="FILE", required=True, help=".npz, .csv, or .parquet with pyarrow installed")
    parser.add_argument(
        "--pool",
        choices=["mean", "cls", "tokens"],
        help=(
            "mean of the patch tokens, class token, or all patch tokens (default: mean, or a classifier's own pooling)"
        ),
    )
    untrained = "leave the encoder's weights random, the same in every run, to compare with"
    parser.add_argument("--untrained", action="store_true", help=untrained)
    parser.add_argument("--config", help="config of the encoder, if the checkpoint does not describe it")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--workers", type=not_negative, help="loader processes (default: number of cores)")
    parser.add_argument(
        "--amp",
        choices=["auto", "bfloat16", "float16", "float32"],
        default="auto",
        help="precision of the encoder (default: auto, bfloat16 on accelerators and float32 on CPUs)",
    )
    add_max_pixels(parser)
    add_parts(parser)
    add_exif(parser)
    return parser.parse_args()


def main() -> None:
    """Load, extract, write."""
    args = parse_args()
    from maetool.config.load import load_config
    from maetool.division import Part
    from maetool.parallel.groups import group_of_torchrun
    from maetool.pretrained.extract import build_whole, check_out
    from maetool.pretrained.frozen import load_frozen
    from maetool.pretrained.reading import reading_of

    part = Part.of(args.part) if args.part else None
    out = check_out(args.out)
    cfg = load_config(args.config) if args.config else None
    model = load_frozen(args.checkpoint, cfg, trained=not args.untrained)
    dataset = build_whole(model, args.data, args.max_pixels, reading_of(args.checkpoint, args.exif))
    with group_of_torchrun() as first:
        if part or args.join:
            _check_alone()
            _divided(args, part, out, model, dataset)
            return
        outputs = _extract(args, model, dataset)
        if first:
            _write(out, outputs, dataset)


def _check_alone() -> None:
    from mmengine.dist import get_world_size

    from maetool.errors import UsageError

    if get_world_size() > 1:
        raise UsageError("Processes of torchrun share the images already: leave out --part and --join.")


def _divided(
    args: argparse.Namespace, part: "Any | None", out: Path, model: "ModelLike", dataset: "NamedImages"
) -> None:
    """Extract a part, or join all."""
    from maetool.division import remove_parts
    from maetool.pretrained.extract_parts import (
        images_of,
        is_done,
        path_of,
        read_parts,
        settings_of,
        write_part,
    )

    settings = settings_of(model, dataset, args.pool, args.batch_size)
    if part is None:
        _write(out, read_parts(out, settings), dataset)
        remove_parts(out.with_suffix(".npz"))
    elif is_done(out, part, settings):
        print(f"{path_of(out, part)}: part {part} was written earlier, with the same settings.")
    else:
        images = images_of(part, len(dataset), args.batch_size)
        outputs = _extract(args, model, dataset, images)
        path, lost = write_part(out, part, settings, outputs), len(images) - len(outputs["index"])
        print(f"{path}: part {part}, {len(images) - lost:,} images; {lost} unreadable. When all parts are written,")
        print("the same command joins them with --join in the place of --part.")


def _extract(
    args: argparse.Namespace, model: "ModelLike", dataset: "NamedImages", images: range | None = None
) -> "dict[str, Tensor]":
    from maetool.pretrained.extract import extract
    from maetool.pretrained.frozen import features_of

    features = {"features": features_of(model, args.pool)}
    options = {"batch_size": args.batch_size, "workers": args.workers, "images": images, "precision": args.amp}
    return extract(model, dataset, features, **options)


def _write(out: Path, outputs: "Mapping[str, Tensor]", dataset: "NamedImages") -> None:
    from maetool.pretrained.extract import write_features

    names = [dataset.name_of(i) for i in outputs["index"].tolist()]
    write_features(out, outputs["features"].numpy(), names, outputs.get("label"), dataset.classes)
    classes = f"labels of {len(dataset.classes)} classes" if dataset.classes else "no labels"
    shape = " x ".join(map(str, outputs["features"].shape[1:]))
    print(f"{out}: {len(names):,} images, {shape} numbers each, {classes}; {len(dataset) - len(names)} unreadable.")
