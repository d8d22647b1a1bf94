"""Train a model from a config."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from maetool.arguments import add_cfg_options
from maetool.cli import StoppedError

if TYPE_CHECKING:
    from maetool.protocols import RunnerLike

_SETS = {"work_dir": "work_dir", "init": "init_from", "amp": "optim_wrapper.dtype", "max_hours": "train_cfg.max_hours"}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "config", help="path of a config, or the name of a shipped one, such as maetool::mae/vit-b_800e.py"
    )
    parser.add_argument(
        "--data", metavar="FOLDER", help="train on these images: a folder of any depth, a text list or a table"
    )
    parser.add_argument("--work-dir", help="where checkpoints, logs and pictures go (default: work_dirs/METHOD_CONFIG)")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="PATH",
        help="continue a stopped run from PATH, by default from the newest checkpoint in the work folder",
    )
    parser.add_argument(
        "--init", metavar="CHECKPOINT", help="initialise the encoder from this checkpoint, maetool's or a published one"
    )
    parser.add_argument(
        "--amp",
        nargs="?",
        const="auto",
        choices=["auto", "bfloat16", "float16", "float32"],
        help="mixed precision; auto uses bfloat16 if the device supports it",
    )
    add_cfg_options(parser)
    parser.add_argument(
        "--max-hours",
        type=float,
        metavar="H",
        help="after this many hours finish the step, save, and exit with code 75",
    )
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    parser.add_argument("--debug", action="store_true", help="a few iterations of a tiny model, in WORK_DIR_debug")
    parser.add_argument("--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Build the runner and train."""
    args = parse_args()
    # Imported here so that --help answers at once.
    from maetool.config.load import load_config, load_for
    from maetool.config.overlap import tell_of_overlap
    from maetool.engine import launch
    from maetool.engine.run_lock import only_run_in
    from maetool.engine.summary import summarise
    from maetool.writing import check_folder

    flags = {"work_dir": args.work_dir, "init_from": args.init, "optim_wrapper.dtype": args.amp}
    flags |= {"train_cfg.max_hours": args.max_hours, "launcher": args.launcher, "resume": bool(args.resume) or None}
    flags["load_from"] = None if args.resume == "auto" else args.resume
    launch.need_training(load_config(args.config, args.cfg_options))
    cfg, sentences = load_for(args.config, args.cfg_options, args.data, flags, args.debug)
    if args.debug and not any(option.startswith("work_dir=") for option in args.cfg_options):
        cfg.work_dir += "_debug"
    check_folder(cfg.work_dir, "--work-dir")
    sentences += filter(None, [launch.drop_missing_validation(cfg), tell_of_overlap(cfg)])
    with only_run_in(cfg.work_dir, cfg.get("launcher") or "none"):
        if not cfg.get("resume") and not args.debug:
            launch.refuse_to_overwrite(cfg.work_dir)
        runner = launch.build_runner(cfg)
        for sentence in sentences:
            runner.logger.warning(sentence)
        if runner.rank == 0:
            _record(args, runner)
        runner.train()
    if runner.stopped:
        raise StoppedError(runner.stopped, runner.saved_on_stop)
    if runner.rank == 0:
        print(f"\n{summarise(Path(runner.work_dir))}")


def _record(args: argparse.Namespace, runner: "RunnerLike") -> None:
    """Keep the command line and the origins of the config beside the logs, for `maetool report`."""
    from maetool.config.origin import trace
    from maetool.reports.command import Command, record_command

    origins = {name: origin for name, _, origin in trace(args.config, args.cfg_options, args.data)}
    origins |= {key: f"--{name.replace('_', '-')}" for name, key in _SETS.items() if getattr(args, name) is not None}
    record_command(Path(runner.log_dir) / "vis_data", Command(sys.argv[1:], origins))
