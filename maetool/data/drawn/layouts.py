"""Drawn shapes written to disk as other data sets are laid out."""

from collections.abc import Callable, Sequence
from pathlib import Path

from maetool.data.datasets.objects.coco_file import write_coco
from maetool.errors import UsageError
from maetool.writing import write_picture

from .object_shapes import ObjectShapesDataset
from .shapes import ShapesDataset
from .shapes_segmentation import write_ade20k


def _ade20k(folder: Path, part: str, num_samples: int, img_size: int | Sequence[int], seed: int) -> None:
    write_ade20k(ShapesDataset(num_samples, img_size, seed=seed), folder, part)


def _coco(folder: Path, part: str, num_samples: int, img_size: int | Sequence[int], seed: int) -> None:
    dataset = ObjectShapesDataset(num_samples, img_size, seed=seed, cache=False)
    write_coco(dataset, folder / {"training": "train", "validation": "val"}[part])


def _classes(folder: Path, part: str, num_samples: int, img_size: int | Sequence[int], seed: int) -> None:
    dataset = ShapesDataset(num_samples, img_size, seed=seed, cache=False)
    for index in range(num_samples):
        name = dataset.label_names[dataset.label_of(index)].replace(" ", "_")
        picture = dataset.scene(index).image
        path = folder / {"training": "train", "validation": "val"}[part] / name / f"{index:06d}.png"
        write_picture(path, picture, "PNG", durable=False)


# Name of a layout to what writes a part ("training" or "validation") of it: folder, part, number, size, seed.
LAYOUTS: dict[str, Callable[[Path, str, int, int | Sequence[int], int], None]] = {
    "ade20k": _ade20k,
    "classes": _classes,
    "coco": _coco,
}


def write_shapes(
    folder: str | Path, layout: str, num_train: int, num_val: int, img_size: int | Sequence[int], seed: int = 0
) -> None:
    """Write drawn shapes to a folder, those of `seed` for training and those of the next seed for validation.

    Args:
        folder: made if it is not there; must be empty.
        layout: one of `LAYOUTS`.
        num_train, num_val: numbers of pictures.
        img_size: side, or (height, width), in pixels.
        seed: see `ShapesDataset`.

    Raises:
        UsageError: no such layout, a folder that holds something, or what `ShapesDataset` raises.
    """
    folder = Path(folder).expanduser()
    if layout not in LAYOUTS:
        raise UsageError(f"layout is {layout!r}, but must be one of {', '.join(LAYOUTS)}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and not an empty folder: name another one.")
    LAYOUTS[layout](folder, "training", num_train, img_size, seed)
    LAYOUTS[layout](folder, "validation", num_val, img_size, seed + 1)
