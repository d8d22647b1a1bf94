r"""Train several configs, each with several seeds, and tabulate the results.

Several configs, one row each:
    maetool compare maetool::maskfeat/vit-t_shapes.py maetool::mff/vit-t_shapes.py --out work_dirs/methods

One config under several changes:
    maetool compare maetool::mae/vit-t_shapes.py --out work_dirs/compare --run "random" \
    --run "block model.masker.type=BlockMasker" --run "red model.masker.type=ColorNoiseMasker model.masker.color=red"

With --labels, accuracy over the number of labels, here of a pretrained encoder and of a random one:
    maetool compare maetool::finetune/vit-t_shapes.py --out work_dirs/worth --run scratch \
    --run "pretrained init_from=CHECKPOINT" --labels "0.1 train_cfg.max_epochs=50" 1
"""

import argparse

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
    """Train missing runs, then write table.md, comparison.png and labels.png.

    Raises:
        UsageError: a row failed; the table gives the reasons.
    """
    args = parse_args()
    from maetool.config.load import parse_runs
    from maetool.engine.sweep import collect, label_curves, over_labels, rows_of, run_all, to_markdown
    from maetool.errors import UsageError
    from maetool.visualization.classification import draw_label_curves
    from maetool.visualization.comparison import draw
    from maetool.writing import check_folder, write_text

    out = check_folder(args.out, "--out")
    rows = rows_of(args.configs, parse_runs(args.run), args.common)
    shares = over_labels(rows, parse_runs(args.labels)) if args.labels else {"": rows}
    planned = {name: row for share in shares.values() for name, row in share.items()}
    failed = run_all(planned, args.seeds, out, args.jobs)
    results = collect(out, list(planned))
    table = to_markdown(results, failed)
    write_text(out / "table.md", table)
    written = ["table.md"] + ["comparison.png"] * draw(results, out / "comparison.png")
    metric, curves = label_curves(rows, shares, out) if args.labels else ("", {})
    if curves:
        draw_label_curves(curves, metric, out / "labels.png")
        written.append("labels.png")
    print(f"\n{table}\nWrote {' and '.join(written)} to {out}.")
    if failed:
        raise UsageError(
            f"{len(failed)} of {len(planned)} rows failed ({', '.join(failed)}): the table gives the reasons; run the "
            "same command again to retry them."
        )
