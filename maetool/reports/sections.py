"""Sections that several pages share."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from maetool.visualization import html

from .study import Study

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
    return "" if picture is None else html.picture(html.smaller(picture, _LONGEST), caption, note, quality=80)


def table_of(values: Mapping[str, Any], heads: tuple[str, str]) -> str:
    """Return a table of two columns, which have these `heads`; empty without values."""
    return html.table(heads, [(name, str(value)) for name, value in values.items()]) if values else ""
