"""Sections that several pages share."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from maetool.errors import UsageError
from maetool.visualization import html

from .study import Study

T = TypeVar("T")

_LARGEST = 200_000  # bytes of a picture, so that a page can be mailed
# What the pictures of hooks without headings show, by kind.
_COLUMNS = {"objects": ": true objects left, predicted ones right"}
_LONGEST = 1100  # pixels of a picture's longer side


@dataclass
class Panels:
    """Sections of a page, and why others are missing.

    Attributes:
        sections: HTML, in their order.
        missing: title of what is left out to the reason.
    """

    sections: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def make(self, title: str, maker: Callable[[], T]) -> T | None:
        """Return what the maker of the part `title` makes; None if it cannot, whose reason is kept.

        A page at the end of a long training must not fail in one of its panels, so that any error is a reason.
        """
        try:
            return maker()
        except UsageError as error:
            self.missing.setdefault(title, str(error))
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), "")[:200]
            self.missing.setdefault(title, f"{type(error).__name__}: {reason}")
        return None

    def add(self, title: str, maker: Callable[[], Iterable[str]]) -> None:
        """Add the sections that the maker of the part `title` makes."""
        self.sections += self.make(title, lambda: list(maker())) or []

    def draw(self, makers: Mapping[str, Callable[[], np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the pictures of makers by name, without those that cannot be drawn."""
        drawn = {name: self.make(f"Pictures of {name}", maker) for name, maker in makers.items()}
        return {name: picture for name, picture in drawn.items() if picture is not None}

    def left_out(self) -> str:
        """Return the section on what is missing; empty if nothing is."""
        lines = (html.paragraph(f"{title}. They are left out: {reason}") for title, reason in self.missing.items())
        return html.section("What this page leaves out", *lines)


def study_sections(study: Study, drawn: Mapping[str, np.ndarray]) -> list[str]:
    """Return the sections on the features of some images.

    Args:
        study: the features.
        drawn: pictures by name: `neighbours`, `clusters`, `patches`, `attention`; those that are missing are left out.
    """
    by = "class" if study.labels is not None else "cluster"
    texts = {
        "Nearest neighbours": (
            "neighbours",
            "An image in each row, then those with the most similar features (cosine).",
        ),
        "Clusters": ("clusters", "k-means of the features; the first caption of a row counts its images."),
        "Features of patches": ("patches", "The three first principal components as red, green and blue."),
        "Attention": ("attention", "Where the class token looks, or the mean of the patches without one; last block."),
    }
    pictures = {title: shown(drawn.get(name), words) for title, (name, words) in texts.items()}
    mapped = html.drawing(study.map(), f"Each dot is an image, coloured by {by}; {study.counted}.")
    first, *others = (html.section(title, picture) for title, picture in pictures.items())
    return list(filter(None, [first, html.section("Map of the features", mapped), *others]))


def shown(picture: np.ndarray | None, caption: str, note: str = "") -> str:
    """Return a picture of at most a page's width with a `caption` and a `note`, plain text; empty for None."""
    return "" if picture is None else html.picture(html.smaller(picture, _LONGEST), caption, note, _LARGEST)


def table_of(values: Mapping[str, Any], heads: tuple[str, str]) -> str:
    """Return a table of two columns, which have these `heads`; empty without values."""
    return html.table(heads, [(name, str(value)) for name, value in values.items()]) if values else ""


def pictures_of(folder: Path, name: str) -> str:
    """Return the last reconstructions of a run, and the last picture of each kind that its hooks drew.

    Args:
        folder: of the run.
        name: of the run, for the captions.
    """
    by_time = sorted(folder.glob("reconstructions/*.png"), key=lambda path: path.stat().st_mtime)
    kinds = {path.name.rsplit("_", 1)[0]: path for path in sorted(folder.glob("*/vis_data/vis_image/*.png"), key=_step)}
    pieces = []
    for path in [*by_time[-1:], *kinds.values()]:
        with suppress(OSError, ValueError, Image.DecompressionBombError):
            picture = np.asarray(Image.open(path).convert("RGB"))
            kind = path.stem.rsplit("_", 1)[0]
            pieces.append(shown(picture, f"{name}, {path.stem.replace('_', ' ')}{_COLUMNS.get(kind, '')}"))
    return "".join(pieces)


def _step(path: Path) -> int:
    number = path.stem.rsplit("_", 1)[-1]
    return int(number) if number.isdecimal() else 0
