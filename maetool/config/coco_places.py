"""Locates images and annotations in a folder of COCO files."""

from pathlib import Path
from typing import Any

from maetool.errors import UsageError


def coco_places(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of a training and of a validation dataset with the user's COCO annotations.

    Three layouts are known: COCO as published (`annotations`, `train2017`, `val2017`); a folder with `train` and `val`,
    each with `images` and `annotations.json`; and a folder with `images` and `annotations.json` alone, of which a fifth
    of the images is held out for validation.

    Raises:
        UsageError: the folder has none of these layouts.
    """
    published = [(root / f"{part}2017", root / f"annotations/instances_{part}2017.json") for part in ("train", "val")]
    own = [(root / part / "images", root / part / "annotations.json") for part in ("train", "val")]
    for layout in (published, own):
        if all(annotations.is_file() for _, annotations in layout):
            train, val = (_coco(*place) for place in layout)
            return train, val
    single = (root / "images", root / "annotations.json")
    if not single[1].is_file():
        raise UsageError(
            f"{root} holds no COCO annotations: expected are {root}/annotations.json with {root}/images, the same "
            f"two in its folders train and val, or {published[0][1]} with {published[0][0]}."
        )
    return {**_coco(*single), "part": "train"}, {**_coco(*single), "part": "val"}


def _coco(images: Path, annotations: Path) -> dict[str, Any]:
    return {"type": "CocoDataset", "root": str(images), "annotations": str(annotations)}
