"""Time maskers, loading, steps and reading, and compare with other libraries."""

import argparse
import json
import os
from importlib import import_module
from typing import Any

from maetool.arguments import add_cfg_options, positive
from maetool.errors import UsageError

VIT_B = "maetool::mae/vit-b_800e.py"


def parse_args() -> argparse.Namespace:
    """Read the command line; a subcommand's arguments are those of `run` in the module of its name."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    maskers = commands.add_parser("maskers", help="every masker, compared with a ViT-B step")
    maskers.add_argument("--batch-size", type=positive, default=4096)
    maskers.add_argument("--grid", type=positive, nargs=2, default=[14, 14])
    maskers.add_argument(
        "--step-batch", type=positive, default=8, help="images of the ViT-B step; its time is scaled up"
    )
    maskers.set_defaults(config=VIT_B)
    loader = commands.add_parser(
        "loader", help="loading by stage, compared with other loaders; the rate at which a worker hands over images"
    )
    loader.add_argument("--data", metavar="FOLDER", help="your photographs (default: generated ones)")
    loader.add_argument("--count", type=positive, default=240, help="photographs per round")
    index = commands.add_parser("index", help="start-up with very many files")
    index.add_argument("--files", type=positive, default=1_281_167)
    _add_step(commands)
    operations = commands.add_parser("operations", help="where the time of a pretraining step goes")
    operations.add_argument("--configs", nargs="+", default=[VIT_B], help="recipes, of any method")
    operations.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    operations.add_argument("--batch-size", type=positive, default=8)
    commands.add_parser("reading", help="cost of the checksum when an exported encoder is read")
    train = commands.add_parser("train", help="the complete training loop, and the share of time waiting for images")
    train.add_argument("config")
    train.add_argument("--data", metavar="FOLDER", help="train on these images")
    add_cfg_options(train, "options")
    train.add_argument("--steps", type=positive, default=20, help="timed steps per round")
    gpu = commands.add_parser("gpu", help="checks and speed on a GPU, as one markdown file; see benchmarks/gpu.sh")
    gpu.add_argument("--small", action="store_true", help="a small model, also on a CPU")
    gpu.add_argument("--minutes", type=float, default=9.0, help="nothing runs longer (default: 9)")
    gpu.add_argument("--out", metavar="FILE", help="write the report, from the first check on")
    gpu.add_argument("--json", metavar="FILE", help="write the figures")
    for command in [each for name, each in commands.choices.items() if name != "gpu"]:
        command.add_argument("--rounds", type=positive, default=7)
        command.add_argument("--json", metavar="FILE", help="write the seconds of every round")
        command.add_argument(
            "--device", choices=["cpu", "cuda"], help="where to measure (default: a GPU if there is one)"
        )
    return parser.parse_args()


def _add_step(commands: Any) -> None:
    step = commands.add_parser("step", help="a pretraining step of each recipe, compared with other libraries")
    step.add_argument(
        "--configs",
        nargs="+",
        default=[VIT_B],
        help='recipes, of any method, or "all": every method\'s ViT-B',
    )
    step.add_argument("--methods", nargs="+", help="ours, transformers, lightly (default: those installed)")
    step.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    step.add_argument("--batch-size", type=positive, default=8)
    step.add_argument("--compile", dest="compiled", action="store_true", help="also measure with torch.compile")
    step.add_argument("--steps", type=positive, default=5, help="timed steps per case and round")
    step.add_argument(
        "--also",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="measure each recipe also with these changes, e.g. model.decoder.num_heads=8",
    )
    step.add_argument("--safety", action="store_true", help="instead: cost of guard, exact sampling and checkpoints")


def _choose(device: str | None) -> None:
    """Let this process, and those that it starts, use only one kind of device.

    Raises:
        UsageError: there is none of this kind.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif device == "cuda":
        from torch.cuda import is_available

        if not is_available():
            raise UsageError("--device cuda needs a GPU that PyTorch can use, but there is none: leave it out.")


def main() -> None:
    """Measure, print a table, write JSON."""
    options = vars(parse_args())
    command, file, out = options.pop("command"), options.pop("json"), options.get("out")
    _choose(options.pop("device", None))
    from maetool.writing import check_file, write_text

    if file:
        check_file(file, "--json")
    if out:
        check_file(out, "--out")
    report, figures = import_module(f"benchmarks.{command}").run(**options)
    print(report)
    if file:
        write_text(file, json.dumps(figures, indent=2) + "\n")
