"""Images with PNGs of classes, and `classes.txt`."""

import io

import numpy as np
import torch
from damage import bytes_damaged, png_damaged, text_damaged
from PIL import Image

from maetool.data import SegmentationDataset

CLASSES = "ground\ntree\nsea\nsky\n"
MAX_PIXELS = 2**20
MEMORY = 2**28
VALUES = np.random.default_rng(0).integers(0, 4, (30, 40), dtype=np.uint8)


def _png(array, palette=False):
    file, image = io.BytesIO(), Image.fromarray(array)
    if palette:
        image.putpalette(list(range(256)) * 3)
    image.save(file, "PNG")
    return file.getvalue()


def make_case(rng, folder):
    picture, truth, classes = _png(np.stack([VALUES] * 3, -1)), _png(VALUES, rng.random() < 0.5), CLASSES.encode()
    how = rng.randrange(10)
    if how < 4:
        truth = png_damaged(rng, truth) if how < 2 else bytes_damaged(rng, truth)
    elif how < 6:
        picture = png_damaged(rng, picture) if how < 5 else bytes_damaged(rng, picture)
    elif how < 9:
        classes = text_damaged(rng, CLASSES)
    for name, data in (("images/a.png", picture), ("annotations/a.png", truth), ("classes.txt", classes)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder, how == 9


def try_case(case):
    folder, whole = case
    places = {"images": "images", "annotations": "annotations", "image_suffix": ".png"}
    dataset = SegmentationDataset(folder, **places, max_pixels=MAX_PIXELS)
    sample = dataset.load(0)
    semantic = sample["semantic"]
    assert semantic.shape == sample["inputs"].shape[1:] and semantic.shape.numel() <= MAX_PIXELS
    assert ((semantic < len(dataset.classes)) | (semantic == dataset.ignore_index)).all() and semantic.min() >= 0
    if whole:
        assert dataset.classes == CLASSES.split() and torch.equal(semantic, torch.from_numpy(VALUES.astype(np.int64)))
    return "right"
