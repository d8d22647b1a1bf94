"""Sections that several pages share."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maetool.visualization import html

from .study import Study

_LARGEST = 200_000  # bytes of a picture, so that a page can be mailed
_LONGEST = 1100  # pixels of a picture's longer side


def study_sections(study: Study, drawn: Mapping[str, np.ndarray | None]) -> list[str]:
    """Return the sections on the features of some images.

    Args:
        study: the features.
        drawn: pictures by name: `neighbours`, `clusters`, `patches`, `attention`; those that are missing or None are
            left out.
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
    mapped = html.drawing(study.map(), f"Each dot is an image, coloured by {by}; {len(study.features):,} images.")
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
            pieces.append(shown(picture, f"{name}, {path.stem.replace('_', ' ')}"))
    return "".join(pieces)


def _step(path: Path) -> int:
    number = path.stem.rsplit("_", 1)[-1]
    return int(number) if number.isdecimal() else 0
