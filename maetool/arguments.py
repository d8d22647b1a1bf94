"""Arguments that commands share."""

import argparse
from collections.abc import Callable


def _at_least(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"got {text!r}, but it must be a whole number") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"got {number}, but it must be at least {least}")
        return number

    return read


positive = _at_least(1)
"""The `type` of an argument that is a whole number of at least 1."""
not_negative = _at_least(0)
"""The `type` of an argument that is a whole number of at least 0."""


def add_cfg_options(parser: argparse.ArgumentParser, name: str = "cfg_options") -> None:
    """Add `--cfg-options`, which changes values of a config and may be given several times.

    Args:
        parser: the command's parser.
        name: what the parsed list is called.
    """
    parser.add_argument(
        "--cfg-options",
        dest=name,
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change values of the config, e.g. model.encoder.depth=6",
    )


def add_exif(parser: argparse.ArgumentParser) -> None:
    """Add `--exif` and `--no-exif` to a command that reads the user's images for a checkpoint; None by default.

    Args:
        parser: the command's parser.
    """
    help_text = "turn photographs as EXIF says, or not (default: as the training of the checkpoint did)"
    parser.add_argument("--exif", action=argparse.BooleanOptionalAction, help=help_text)


def add_max_pixels(parser: argparse.ArgumentParser, larger: str = "count as broken") -> None:
    """Add `--max-pixels`, None by default, to a command that reads the user's images.

    Args:
        parser: the command's parser.
        larger: how larger images are treated.
    """
    help_text = f"largest number of pixels of an image; larger ones {larger} (default: 268,435,456)"
    parser.add_argument("--max-pixels", type=positive, metavar="N", help=help_text)


def add_parts(parser: argparse.ArgumentParser) -> None:
    """Add `--part` and `--join`, which exclude each other, to a command whose work several machines can divide.

    Args:
        parser: the command's parser.
    """
    group = parser.add_mutually_exclusive_group()
    what = "do only part I of N, from 0, as one of N machines: 0/16 to 15/16; run again, it goes on"
    group.add_argument("--part", metavar="I/N", help=what)
    group.add_argument("--join", action="store_true", help="check and join the parts, with their other arguments")


def add_pick(parser: argparse.ArgumentParser) -> None:
    """Add `--key` and `--prefix`, None by default, which pick one of several models in a checkpoint.

    Args:
        parser: the command's parser.
    """
    parser.add_argument(
        "--key", metavar="KEYS", help="where CHECKPOINT holds the weights, such as teacher or model_ema"
    )
    parser.add_argument(
        "--prefix", metavar="NAMES", help="what the weights' names begin with, such as student.backbone."
    )
