r"""Train several configs, each with several seeds, and tabulate the results.

Several configs, one row each:
    maetool compare maetool::maskfeat/vit-t_shapes.py maetool::mff/vit-t_shapes.py --out work_dirs/methods

One config under several changes:
    maetool compare maetool::mae/vit-t_shapes.py --out work_dirs/compare --run "random" \
    --run "block model.masker.type=BlockMasker" --run "red model.masker.type=ColorNoiseMasker model.masker.color=red"

With --labels, accuracy over the number of labels, here of a pretrained encoder and of a random one:
    maetool compare maetool::finetune/vit-t_shapes.py --out work_dirs/worth --run scratch \
    --run "pretrained init_from=CHECKPOINT" --labels "0.1 train_cfg.max_epochs=50" 1

With --sweep, a metric over the values of one option, and with --data on your own images:
    maetool compare maetool::mae/vit-t_shapes.py --out work_dirs/ratios --data FOLDER \
    --sweep model.masker.mask_ratio=0.25,0.5,0.75,0.9

With --finetune, what each encoder is worth when it is fine-tuned, beside one that begins untrained:
    maetool compare maetool::benchmark/mae_vit-s.py maetool::benchmark/maskfeat_vit-s.py --data FOLDER \
    --out work_dirs/benchmark --finetune maetool::finetune/vit-s_100e.py
"""

import argparse
from pathlib import Path
from typing import Any

from maetool.arguments import positive


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "configs", nargs="+", metavar="CONFIG", help="configs to compare, or one config for several runs"
    )
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        metavar='"NAME KEY=VALUE ..."',
        help="a variant of the config; may be repeated",
    )
    parser.add_argument(
        "--labels", nargs="+", metavar='"SHARE KEY=VALUE ..."', help="repeat every run on these shares of the labels"
    )
    parser.add_argument(
        "--sweep", metavar="KEY=NUMBER,NUMBER,...", help="repeat every run with these values of an option"
    )
    parser.add_argument("--data", metavar="FOLDER", help="images for all runs, as for training")
    parser.add_argument(
        "--finetune",
        metavar='"CONFIG KEY=VALUE ..."',
        help="fine-tune what each run has pretrained, and an untrained encoder as the row scratch",
    )
    parser.add_argument("--seeds", type=positive, default=3, help="number of seeds per row (default: %(default)s)")
    parser.add_argument(
        "--out", required=True, help="folder of the runs; with the same folder again, interrupted runs continue"
    )
    parser.add_argument(
        "--jobs", type=positive, default=1, help="number of simultaneous trainings, which share the cores (default: 1)"
    )
    parser.add_argument(
        "--common", action="extend", nargs="*", default=[], metavar="KEY=VALUE", help="options of all runs"
    )
    return parser.parse_args()


def main() -> None:
    """Train missing runs, then write table.md and the pictures.

    Raises:
        UsageError: --labels beside --sweep or --finetune, or a row failed; the table gives the reasons.
    """
    args = parse_args()
    from maetool.engine.sweep import collect, run_all, to_markdown, with_finetuning
    from maetool.errors import UsageError
    from maetool.writing import check_folder, write_text

    out = check_folder(args.out, "--out")
    rows, along, axis = _rows(args)
    planned = {name: row for each in along.values() for name, row in each.items()}
    if args.finetune:
        planned = with_finetuning(planned, args.finetune, args.data)
    failed = run_all(planned, args.seeds, out, args.jobs)
    results = collect(out, list(planned))
    table = to_markdown(results, failed)
    write_text(out / "table.md", table)
    written = [
        "table.md",
        *_report(out, planned),
        *_draw(out, results),
        *_draw_axis(out, rows, along, axis, bool(args.labels)),
    ]
    print(f"\n{table}\nWrote {' and '.join(written)} to {out}.")
    if failed:
        raise UsageError(
            f"{len(failed)} of {len(planned)} rows failed ({', '.join(failed)}): the table gives the reasons; run the "
            "same command again to retry them."
        )


def _rows(args: argparse.Namespace) -> tuple[dict[str, Any], dict[Any, Any], str]:
    """Return the rows, the rows along an axis by its values, and what the axis is."""
    from maetool.config.load import parse_runs
    from maetool.engine.sweep import over_labels, over_values, rows_of
    from maetool.errors import UsageError

    if args.labels and args.sweep:
        raise UsageError("--labels and --sweep are two axes: give one of them, and options of the other with --run.")
    if args.labels and args.finetune:
        raise UsageError("--labels and --finetune: give the share of the labels as an option of --finetune instead.")
    rows = rows_of(args.configs, parse_runs(args.run), args.common, args.data)
    if args.labels:
        return rows, over_labels(rows, parse_runs(args.labels)), ""
    if args.sweep:
        axis, along = over_values(rows, args.sweep)
        return rows, along, axis
    return rows, {"": rows}, ""


def _report(out: Path, names: Any) -> list[str]:
    """Write the page of all rows, and return its name; nothing is written if no run has logs."""
    from maetool.reports import run_page
    from maetool.writing import write_text

    folders = [
        path.parents[2] for name in names for path in sorted((out / name).glob("seed_*/*/vis_data/scalars.json"))
    ]
    if not folders:
        return []
    write_text(out / "report.html", run_page(folders, 0))
    return ["report.html"]


def _draw(out: Path, results: Any) -> list[str]:
    """Draw all rows, and return the names of the pictures."""
    from maetool.visualization.comparison import draw

    return ["comparison.png"] * draw(results, out / "comparison.png")


def _draw_axis(out: Path, rows: Any, along: Any, axis: str, labels: bool) -> list[str]:
    """Draw a metric along the axis of labels or of a sweep, and return the names of the pictures."""
    from maetool.engine.sweep import label_curves, value_curves
    from maetool.visualization.classification import draw_label_curves, draw_sweep

    if labels:
        metric, counted = label_curves(rows, along, out)
        if counted:
            draw_label_curves(counted, metric, out / "labels.png")
        return ["labels.png"] if counted else []
    metric, curves, untrained = value_curves(rows, along, out) if axis else ("", {}, [])
    if curves:
        draw_sweep(curves, metric, axis, out / "sweep.png", untrained)
    return ["sweep.png"] if curves else []
