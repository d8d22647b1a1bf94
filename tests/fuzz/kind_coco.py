"""COCO annotation files: objects loaded with their masks, and scored."""

import json

import numpy as np
import torch
from damage import ODD_VALUES, text_damaged, value_damaged
from PIL import Image

from maetool.data import CocoDataset
from maetool.data.datasets.objects.masks import encode_mask
from maetool.evaluation.coco import CocoScores, to_coco

SIZE = (40, 60)
BOXES = ((10, 10, 20, 10), (0, 0, 5, 5), (30, 20, 30, 20))


def _content():
    mask = np.zeros(SIZE, np.uint8)
    mask[20:40, 30:60] = 1
    left, top, width, height = BOXES[0]
    outline = [left, top, left + width, top, left + width, top + height, left, top + height]
    forms = ([outline], {"size": list(SIZE), "counts": [0, 5] + [35, 5] * 4 + [2400 - 165]}, encode_mask(mask))
    annotations = [
        {
            "id": number,
            "image_id": 7,
            "category_id": 1 + number % 2,
            "bbox": list(box),
            "segmentation": form,
            "iscrowd": 0,
        }
        for number, (box, form) in enumerate(zip(BOXES, forms, strict=True))
    ]
    images = [{"id": i, "file_name": f"{i}.png", "height": SIZE[0], "width": SIZE[1]} for i in (7, 8, 9, 10)]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }


def make_case(rng, folder):
    for number in (7, 8, 9, 10):
        Image.fromarray(np.full((*SIZE, 3), number, np.uint8)).save(folder / f"{number}.png")
    content, how = _content(), rng.randrange(12)
    if 3 <= how < 6:
        _damage_mask(rng, rng.choice(content["annotations"]))
    elif how >= 6:
        content = value_damaged(rng, content)
    text = json.dumps(content)
    if how == 1:
        text = rng.choice(('{"a":', "[")) * 100_000
    (folder / "annotations.json").write_bytes(text_damaged(rng, text) if how == 2 else text.encode())
    return folder, how == 0


def _damage_mask(rng, annotation):
    number = rng.choice((-1, 1e6, 1e7, 1e8, -1e300, 1e308, 2**40, float("nan"), float("inf"), "5", None, [1], True))
    form = annotation["segmentation"]
    if isinstance(form, list):
        form[0][rng.randrange(len(form[0]))] = number
        if rng.random() < 0.3:
            annotation["segmentation"] = rng.choice(([[1, 2]], [], [form], form * 2000, [[5, 5, 60, 35] * 50_000]))
    elif isinstance(form["counts"], list):
        form["counts"][rng.randrange(len(form["counts"]))] = number
    else:
        form["counts"] = rng.choice((form["counts"] * 3, "o" * 50, "\x7f", "P" * 9, "", "\u1234", number, "0" * 10**6))
    if rng.random() < 0.2:
        annotation["segmentation"] = rng.choice(ODD_VALUES)


def try_case(case):
    folder, whole = case
    dataset = CocoDataset(folder, folder / "annotations.json", max_broken=0.5)
    dataset.describe()
    found, broken = [], False
    for index in range(len(dataset)):
        sample = dataset.load(index)
        objects = sample["objects"]
        assert objects.masks.shape == (len(objects), *sample["inputs"].shape[1:])
        if sample["skipped"]:
            broken = True
            continue
        scored = {**vars(objects), "scores": torch.ones(len(objects))}
        found += to_coco(scored, dataset.image_id(index), dataset.category_ids())
    seen = [dataset.image_id(index) for index in range(len(dataset)) if not dataset.load(index)["skipped"]]
    metrics = CocoScores(dataset.coco(), found, "mask", seen).metrics
    if whole:
        assert metrics["mask_ap"] > 99.9 and not broken
        areas = dataset.load(0)["objects"].masks.sum(dim=(1, 2)).tolist()
        assert areas == [width * height for _, _, width, height in BOXES]
    return "counted" if broken else "right"
