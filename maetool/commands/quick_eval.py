"""Evaluate a checkpoint on your labelled images within minutes.

FOLDER has a folder of images for each class, or such folders in train and val; or it is a table of paths and
labels. Without val, a fixed fifth of each class is held out. Only a linear layer is trained.
"""

import argparse

from maetool.arguments import add_exif, add_max_pixels, not_negative, positive

INTERRUPTED = "Stopped."


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint of pretraining, of a classifier or of an exported encoder")
    parser.add_argument("--data", metavar="FOLDER", required=True, help="your labelled images")
    untrained = "also measure the encoder with random weights (default: yes)"
    parser.add_argument("--untrained", action=argparse.BooleanOptionalAction, default=True, help=untrained)
    labels = "fit on so many images, and on all of them (default: all)"
    parser.add_argument("--labels", type=number_or_all, nargs="+", default=[None], metavar="N|all", help=labels)
    draws = "how often the images are drawn, for the spread (default: %(default)s)"
    parser.add_argument("--draws", type=positive, default=10, help=draws)
    parser.add_argument("--targets", nargs="+", default=[], metavar="COLUMN", help="columns of numbers to predict")
    parser.add_argument("--limit", type=positive, help="use at most this many images of each part, evenly spaced")
    parser.add_argument("--k", type=positive, default=20, help="number of neighbours (default: %(default)s)")
    parser.add_argument("--pool", choices=["mean", "cls"], help="features, see `maetool extract_features`")
    sizes = "also predict at these square sizes; the classifiers are fitted at the encoder's size"
    parser.add_argument("--img-size", type=positive, nargs="+", default=[], metavar="PIXELS", help=sizes)
    parser.add_argument("--config", help="config of the encoder, if the checkpoint does not describe it")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to FILE")
    parser.add_argument("--batch-size", type=positive, default=64)
    parser.add_argument("--workers", type=not_negative, help="loader processes (default: number of cores)")
    add_max_pixels(parser)
    add_exif(parser)
    return parser.parse_args()


def number_or_all(text: str) -> int | None:
    """Return the number of labels in `text`, or None for "all"."""
    return None if text == "all" else positive(text)


def main() -> None:
    """Extract the features of both parts, measure, print a table."""
    args = parse_args()
    from maetool.config.load import load_config
    from maetool.config.user_data import places
    from maetool.ops.geometry import to_size
    from maetool.pretrained.frozen import load_frozen
    from maetool.pretrained.quick_eval import UNTRAINED, QuickEvaluation, judged_by, to_text, with_spreads
    from maetool.pretrained.reading import reading_of
    from maetool.writing import check_file, to_json, write_text

    if args.json:
        check_file(args.json, "--json")
    cfg = load_config(args.config) if args.config else None
    models = {"": load_frozen(args.checkpoint, cfg)}
    if args.untrained:
        models[UNTRAINED] = load_frozen(args.checkpoint, cfg, trained=False)
    chosen = {"limit": args.limit, "max_pixels": args.max_pixels}
    chosen["targets"] = args.targets
    chosen = {name: value for name, value in chosen.items() if value} | reading_of(args.checkpoint, args.exif)
    train, val = ({**place, **chosen} for place in places(args.data, True))
    sizes = [to_size(side, "--img-size") for side in args.img_size]
    labels = list(dict.fromkeys(args.labels))
    evaluation = QuickEvaluation(
        train, val, args.pool, args.k, args.batch_size, args.workers, sizes, labels, args.draws
    )
    results = evaluation.run(models)
    print(f"\n{evaluation.describe()}\n\n{to_text(results, evaluation.spreads)}\n")
    print(f"The linear probe of the features, by {judged_by(results)}:")
    print("\n".join(evaluation.verdicts()))
    if args.json:
        write_text(args.json, to_json(with_spreads(results, evaluation.spreads)))
