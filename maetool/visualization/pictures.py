"""Pictures and figures, written as files."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageFont
from torch import Tensor

from maetool.errors import UsageError
from maetool.writing import check_file, write_file, write_picture

if TYPE_CHECKING:  # it takes a third of a second to import, and most commands draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MIN_SIDE = 96  # pixels; tiny images are enlarged for people
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_FIGURES = (".png", ".jpg", ".jpeg", ".pdf", ".svg")


def caption_font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of captions, `size` pixels high: matplotlib's DejaVu Sans.

    Pillow's own font has no gaps between words at small sizes.
    """
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


def enlarged(picture: np.ndarray) -> np.ndarray:
    """Return a picture, uint8 (H, W, 3), a whole number of times as large if it is too small to be looked at."""
    scale = -(-_MIN_SIDE // min(picture.shape[:2]))
    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    return picture if scale == 1 else np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))


def hidden_colour(pictures: Tensor) -> Tensor:
    """Return the colour of hidden patches, uint8 (3,): grey, or blue where the pictures are grey themselves.

    Args:
        pictures: uint8 (..., 3).
    """
    grey = bool((pictures == pictures[..., :1]).all())
    return torch.tensor([72, 104, 160] if grey else [127] * 3, dtype=torch.uint8)


def check_picture(path: str | Path, option: str, figure: bool = False) -> Path:
    """Return the path of a picture that is written later, after checking that this is possible.

    Args:
        path: the file.
        option: the option that names it, such as "--out".
        figure: whether matplotlib draws it, which also writes .pdf and .svg.

    Raises:
        UsageError: an unknown suffix, or a path that cannot be written.
    """
    endings = _FIGURES if figure else tuple(_FORMATS)
    if Path(path).suffix.lower() not in endings:
        raise UsageError(f"{option} is {path}, but must end in {', '.join(endings[:-1])} or {endings[-1]}.")
    return check_file(path, option)


def new_figure(width: float, height: float, dpi: int = 120) -> "Figure":
    """Return an empty matplotlib figure without a display.

    Args:
        width, height: in inches.
        dpi: pixels per inch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def widen_to(axes: "Axes", points: float = 10) -> None:
    """Widen an axis of percentages, so that noise of less than a point does not fill the picture.

    Args:
        axes: with all lines drawn.
        points: smallest length of the axis, in percentage points.
    """
    low, high = axes.get_ylim()
    missing = max(0, points - (high - low))
    low = max(min(0, low), low - missing / 2)  # above 0, if the values are
    axes.set_ylim(low, max(high, low + points))


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a matplotlib figure to `path`, in the format of its suffix, creating its folder.

    Raises:
        OutputError: the file cannot be written.
    """
    write_file(path, lambda file: figure.savefig(file, format=path.suffix[1:].lower()))


def save_picture(picture: np.ndarray, path: Path) -> None:
    """Write a uint8 picture, RGB or grey, to `path`, as PNG or JPEG by its suffix, creating its folder.

    Raises:
        OutputError: the file cannot be written.
    """
    write_picture(path, picture, _FORMATS[path.suffix.lower()])
