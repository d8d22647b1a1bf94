"""Evaluate a checkpoint with the config's validation.

Pretraining: loss under fixed masks, and kNN accuracy if the data has labels. Classifiers: accuracies, average precision
and calibration, with tables and pictures beside metrics.json, and predictions.csv for every image. Segmentors: mean IoU
and pixel accuracies, with tables of the classes. Detectors: COCO's average precision. Regressors: mean absolute
error and R2, with a scatter picture. A test_dataloader in the config is used, unless --data names other images. A
config that measures only features, such as kNN, takes the encoder of any checkpoint. Images are read as in the
training: turned by EXIF or not, for example.
"""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from maetool.arguments import add_cfg_options

if TYPE_CHECKING:
    from mmengine import Config


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the config that the checkpoint was trained with, or one of configs/knn")
    parser.add_argument(
        "checkpoint", nargs="?", help="path of a .pth file; not needed by a config that measures only features"
    )
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        help="validate on these images, or on the part that training on them holds out",
    )
    parser.add_argument("--work-dir", help="where logs and metrics.json go (default: test/ beside the checkpoint)")
    add_cfg_options(parser)
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none")
    parser.add_argument("--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def tell_of_share(cfg: "Config", data: str | None) -> None:
    """Say so if only a share of the images is scored.

    Args:
        cfg: the config, whose validation scores.
        data: where the images are; None, where the config says, which says the share too.
    """
    dataset = (cfg.get("val_dataloader") or {}).get("dataset") or {}
    if data and dataset.get("part") == "val":
        logging.getLogger("maetool").warning(
            "%s: only the images that a training on it holds out are scored; --cfg-options "
            "val_dataloader.dataset.part=all scores all of them.",
            data,
        )


def main() -> None:
    """Build the runner, load the weights and validate."""
    args = parse_args()
    from maetool.config.load import load_for
    from maetool.engine import launch
    from maetool.pretrained.reading import read_as_trained
    from maetool.weights.read import local_file
    from maetool.writing import to_json, write_text

    beside = str(local_file(args.checkpoint).parent / "test") if args.checkpoint else None
    work_dir = args.work_dir or beside
    flags = {"work_dir": work_dir, "launcher": args.launcher}
    cfg, _ = load_for(args.config, args.cfg_options, args.data, flags, adopt=False)
    cfg.load_from, cfg.resume = args.checkpoint, False
    read_as_trained(cfg, args.checkpoint)
    on_test_data = bool(cfg.get("test_dataloader")) and not args.data
    runner = launch.build_runner(cfg if on_test_data else launch.need_validation(cfg))
    loop = runner.test_loop if on_test_data else runner.val_loop
    tell_of_share(cfg, args.data)
    runner.measure_from(args.checkpoint, loop)
    metrics = runner.test() if on_test_data else runner.val()
    if runner.rank == 0:
        folder = Path(runner.work_dir)
        write_text(folder / "metrics.json", to_json(metrics))  # kept if the report fails
        report = {**metrics, **(loop.report(folder) if hasattr(loop, "report") else {})}
        write_text(folder / "metrics.json", to_json(report))
        print("\n".join(f"{name:<24} {value:.4f}" for name, value in report.items() if isinstance(value, float)))
