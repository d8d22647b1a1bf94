"""The images that a model of any task gets wrong most: an error of each, and how one is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from maetool.visualization import html
from maetool.visualization.galleries import gallery
from maetool.visualization.overlays import with_legend

from .sections import shown

Cell = tuple[np.ndarray, str]  # a picture, uint8 (H, W, 3), and its caption


@dataclass(frozen=True)
class WorstCases:
    """How wrong a model is on each of N images, and what shows it.

    Attributes:
        errors: (N,), the larger the worse; 0 where nothing is wrong, NaN where nothing is known.
        cells: returns the pictures, with captions, of the image at a place of `errors`.
        words: what the pictures show, plain text.
        columns: pictures in a row.
        side: pixels of the longer side of each picture.
        legend: colours, red, green and blue of 0 to 255, by what they mean.
    """

    errors: Tensor
    cells: Callable[[int], Sequence[Cell]]
    words: str
    columns: int = 6
    side: int = 150
    legend: Sequence[tuple[str, Sequence[int]]] = ()

    def draw(self, number: int) -> np.ndarray | None:
        """Draw the images with the largest errors, the worst first; None if nothing is wrong.

        Args:
            number: of pictures, at most, where an image has several.
        """
        errors = self.errors.nan_to_num(0.0)
        cells: list[Cell] = []
        for place in errors.argsort(descending=True, stable=True).tolist():
            if errors[place] <= 0 or len(cells) >= number:
                break
            cells += self.cells(place)
        if not cells:
            return None
        rows = [cells[i : i + self.columns] for i in range(0, len(cells), self.columns)]
        pictures, captions = ([[cell[part] for cell in row] for row in rows] for part in (0, 1))
        drawn = gallery(pictures, captions, self.side)
        return with_legend(drawn, *zip(*self.legend, strict=True)) if self.legend else drawn

    def section(self, number: int = 18) -> str:
        """Return the section of a page, which says so if nothing is wrong; `number` as in `draw`."""
        picture = self.draw(number)
        nothing = html.paragraph(f"None of {len(self.errors):,} images has an error.")
        return html.section("Worst cases", nothing if picture is None else shown(picture, self.words))
