r"""Compares changes of a config: the same training for each, a few seeds, a table and a plot.

Example: python tools/compare.py configs/mae/vit-t_shapes.py --out work_dirs/compare --run "random" \
    --run "block model.masker.type=BlockMasker" --run "red model.masker.type=ColorNoiseMasker model.masker.color=red"

With --labels, accuracy over the number of labels, here of an encoder that was pretrained and of one that was not:
    python tools/compare.py configs/finetune/vit-t_shapes.py --out work_dirs/worth --run scratch \
    --run "pretrained init_from=CHECKPOINT" --labels "0.1 train_cfg.max_epochs=50" 1
"""

import argparse
from pathlib import Path

from maetool.cli import run


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="the config that is changed")
    parser.add_argument(
        "--run", action="append", required=True, metavar='"NAME KEY=VALUE ..."', help="one for each run"
    )
    parser.add_argument(
        "--labels", nargs="+", metavar='"SHARE KEY=VALUE ..."', help="repeat every run on these shares of the labels"
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each run (default: %(default)s)")
    parser.add_argument(
        "--out", required=True, help="folder of the runs; the same folder again goes on where it stopped"
    )
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, sharing the cores (default: 1)")
    parser.add_argument("--common", nargs="*", default=[], metavar="KEY=VALUE", help="options of all runs")
    return parser.parse_args()


def main() -> None:
    """Train what is not there yet, then write table.md, comparison.png, and with --labels labels.png."""
    args = parse_args()
    from maetool.engine.compare import collect, draw, label_curves, over_labels, run_all, to_markdown
    from maetool.engine.config import load_config, parse_runs
    from maetool.visualization.classification import draw_label_curves

    runs = {name: [*args.common, *options] for name, options in parse_runs(args.run).items()}
    shares = over_labels(runs, parse_runs(args.labels)) if args.labels else {"": runs}
    named, runs = runs, {name: options for planned in shares.values() for name, options in planned.items()}
    for options in runs.values():
        load_config(args.config, options)  # a misspelt option is told before anything is trained
    out = Path(args.out)
    run_all(args.config, runs, args.seeds, out, args.jobs)
    found = collect(out, list(runs))
    (out / "table.md").write_text(to_markdown(found))
    draw(found, out / "comparison.png")
    if args.labels:
        metric, curves = label_curves(args.config, named, shares, out)
        draw_label_curves(curves, metric, out / "labels.png")
    print(f"\n{to_markdown(found)}\nWrote table.md and comparison.png{' and labels.png' * bool(args.labels)} to {out}.")


if __name__ == "__main__":
    run(main)
