"""Locates images and annotations in a folder of COCO files."""

from pathlib import Path
from typing import Any

from maetool.errors import UsageError


def coco_places(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments that make a training and a validation dataset of COCO annotations those of the user.

    What may be given, and what is then validated on: COCO as it is published, with `annotations`, `train2017` and
    `val2017`: the last; a folder with `train` and `val`, each with `images` and `annotations.json`: the second; or one
    such folder: a fifth of the images, which is held out.

    Raises:
        UsageError: none of them.
    """
    published = [(root / f"{part}2017", root / f"annotations/instances_{part}2017.json") for part in ("train", "val")]
    own = [(root / part / "images", root / part / "annotations.json") for part in ("train", "val")]
    for layout in (published, own):
        if all(annotations.is_file() for _, annotations in layout):
            train, val = (_coco(*place) for place in layout)
            return train, val
    whole = (root / "images", root / "annotations.json")
    if not whole[1].is_file():
        raise UsageError(
            f"{root} holds no COCO annotations: expected are {root}/annotations.json with {root}/images, the same in "
            f"train and val of it, or {published[0][1]} with {published[0][0]}."
        )
    return {**_coco(*whole), "part": "train"}, {**_coco(*whole), "part": "val"}


def _coco(images: Path, annotations: Path) -> dict[str, Any]:
    return {"type": "CocoDataset", "root": str(images), "annotations": str(annotations)}
