"""Check what a data set is before training on it.

DATA is whatever `maetool train --data` takes: a folder of images, of class folders, of parts, of masks or of COCO's
annotations, a csv table, a text list, an archive or shards. Files, sizes, values, labels, masks, boxes and copies are
looked at; what a training would refuse or get wrong is said, and the commands that follow are printed. A page of
pictures with their labels, masks or boxes goes to work_dirs/check_NAME.html.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from maetool.arguments import add_max_pixels, positive

INTERRUPTED = "Stopped."
_WROTE = "\nWrote {}: look whether the labels, masks or boxes fit the pictures."
_TASKS = ("pretraining", "classification", "regression", "segmentation", "detection")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="your images, with their labels if there are any")
    parser.add_argument("--task", choices=_TASKS, help="what the labels are for (default: what they look like)")
    parser.add_argument(
        "--max-images", type=positive, default=2000, metavar="N", help="decode this many, evenly spaced (default: 2000)"
    )
    add_max_pixels(parser)
    parser.add_argument("--workers", type=positive, help="number of threads (default: number of cores)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was found to FILE")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--page", metavar="FILE", help="the page, .html (default: work_dirs/check_NAME.html)")
    where.add_argument("--no-page", action="store_true", help="write no page")
    parser.add_argument(
        "--pictures", type=positive, default=24, metavar="N", help="pictures of a part on it (default: 24)"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 1 if there is an error among the findings"
    )
    return parser.parse_args()


def main() -> None:
    """Look, print, and write the page and what is asked for."""
    args = parse_args()
    from maetool.compat import usable_cores
    from maetool.data.codecs.image_size import chosen_limit
    from maetool.inspection.inspect import Effort, inspect_data
    from maetool.inspection.page import check_page, try_to_write, write_page
    from maetool.inspection.text import to_text
    from maetool.writing import check_file, write_text

    if args.json:
        check_file(args.json, "--json")
    if args.page:
        check_page(args.page)
    effort = Effort(args.max_images, args.workers or usable_cores(), chosen_limit(args.max_pixels), _bar)
    report = inspect_data(args.data, args.task, effort)
    print(to_text(report))
    if args.json:
        write_text(args.json, report.to_json())
    if args.page:
        write_page(args.page, report, args.pictures)
        print(_WROTE.format(args.page))
    elif not args.no_page:
        page, reason = try_to_write(report, args.pictures)
        print(_WROTE.format(page) if page else f"\nNo page was written ({reason}); --no-page asks for none.")
    if args.strict and report.problems:
        sys.exit(1)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[], object]]:
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit="image", dynamic_ncols=True, leave=False, disable=None) as bar:
        yield bar.update
