r"""Compares changes of a config: the same pretraining for each, a few seeds, a table and a plot.

Example: python tools/compare.py configs/mae/vit-t_shapes.py --out work_dirs/compare --run "random" \
    --run "block model.masker.type=BlockMasker" --run "red model.masker.type=ColorNoiseMasker model.masker.color=red"
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
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each run (default: %(default)s)")
    parser.add_argument(
        "--out", required=True, help="folder of the runs; the same folder again goes on where it stopped"
    )
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, sharing the cores (default: 1)")
    parser.add_argument("--common", nargs="*", default=[], metavar="KEY=VALUE", help="options of all runs")
    return parser.parse_args()


def main() -> None:
    """Train what is not there yet, then write table.md and comparison.png."""
    args = parse_args()
    from maetool.engine.compare import collect, draw, run_all, to_markdown
    from maetool.engine.config import load_config, parse_runs

    runs = {name: [*args.common, *options] for name, options in parse_runs(args.run).items()}
    for options in runs.values():
        load_config(args.config, options)  # a misspelt option is told before anything is trained
    out = Path(args.out)
    run_all(args.config, runs, args.seeds, out, args.jobs)
    found = collect(out, list(runs))
    (out / "table.md").write_text(to_markdown(found))
    draw(found, out / "comparison.png")
    print(f"\n{to_markdown(found)}\nWrote {out / 'table.md'} and {out / 'comparison.png'}.")


if __name__ == "__main__":
    run(main)
