"""Find a recipe for your images, train it, and say what it was worth.

FOLDER is whatever `maetool train --data` takes. Its images are looked at, a plan is written as a config with a reason
for each choice, and a few short candidates are compared where the choice is unsure: without labels, or by those of the
training images. The plan is trained within the minutes and judged on images held back, beside raw pixels, HOG and the
untrained encoder. Ctrl-C ends the training early and judges what there is; a second one ends the command.
"""

import argparse
from math import inf
from pathlib import Path

from maetool.arguments import add_max_pixels, positive

INTERRUPTED = "Stopped. The same command with --resume goes on."
_TASKS = ("classify", "retrieve", "segment", "detect")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", help="your images, with or without labels")
    parser.add_argument("--labels", metavar="TABLE", help="labelled images: a table, or a folder of class folders")
    minutes = "for everything, from looking to judging (default: %(default)s)"
    parser.add_argument("--minutes", type=float, default=30, metavar="N", help=minutes)
    parser.add_argument(
        "--task", choices=_TASKS, default="classify", help="what the encoder is for (default: classify)"
    )
    parser.add_argument("--plan", action="store_true", help="write the plan, and train nothing but a few timed steps")
    parser.add_argument("--out", metavar="DIR", help="folder of plan and training (default: work_dirs/auto_FOLDER)")
    parser.add_argument("--resume", action="store_true", help="go on with what an earlier call left in --out")
    parser.add_argument("--workers", type=positive, help="threads that look at the images (default: number of cores)")
    add_max_pixels(parser)
    return parser.parse_args()


def main() -> None:
    """Look, plan, try, train, judge.

    Raises:
        UsageError: minutes that are no number above 0.
    """
    args = parse_args()
    from maetool.auto.run import Auto, Request
    from maetool.compat import usable_cores
    from maetool.errors import UsageError

    if not 0 < args.minutes < inf:
        raise UsageError(f"--minutes is {args.minutes:g}, but must be a number above 0, such as 30.")
    out = Path(args.out or f"work_dirs/auto_{Path(args.folder).resolve().stem}")
    workers = args.workers or usable_cores()
    request = Request(args.folder, args.labels, args.task, args.minutes, out, workers, args.max_pixels)
    Auto(request).run(args.resume, args.plan)
