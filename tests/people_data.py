"""Small data sets on disk, as people have them."""

import json

import numpy as np
from PIL import Image


def picture(seed, size=(24, 32), channels=3):
    """Return noise, uint8 (H, W, C)."""
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), np.uint8)


class Data:
    """Writes the files of a data set below a folder.

    Args:
        root: the folder.
    """

    def __init__(self, root):
        self.root, self.number = root, 0

    def images(self, *names, size=(24, 32)):
        """Write an image under each name, no two alike."""
        for name in names:
            self.number += 1
            self.array(name, picture(self.number, size))
        return self

    def array(self, name, array, **options):
        """Write an array as an image."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, array)
        else:
            Image.fromarray(array).save(path, **options)
        return self

    def text(self, name, text):
        """Write a text file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self

    def table(self, name, *rows):
        """Write a csv table of the rows, each a string of cells with commas; the paths in them are made."""
        header = rows[0].split(",")
        self.images(*(row.split(",")[header.index("path")] for row in rows[1:]))
        return self.text(name, "\n".join(rows) + "\n")

    def coco(self, images="images", annotations="annotations.json", boxes=((2, 3, 10, 8),), number=4, **entry):
        """Write images, and annotations with these boxes in each."""
        names = [f"{i}.png" for i in range(number)]
        self.images(*(f"{images}/{name}" for name in names))
        content = {"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}], "annotations": []}
        content["images"] = [{"id": i, "file_name": name, "height": 24, "width": 32} for i, name in enumerate(names)]
        for image in range(number):
            for box in boxes:
                x, y, w, h = box
                outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
                place = len(content["annotations"])
                content["annotations"].append(
                    {"id": place, "image_id": image, "category_id": 1 + place % 2, "bbox": box, "iscrowd": 0}
                    | {"area": w * h, "segmentation": outline, **entry}
                )
        return self.text(annotations, json.dumps(content))

    def masks(self, images, masks, *values, ending=".png", image_ending=".jpg"):
        """Write images, and a mask for each list of values, whose rows have one value each."""
        for number, each in enumerate(values):
            array = np.resize(np.array(each, np.uint8), 24)[:, None].repeat(32, axis=1)
            self.images(f"{images}/{number}{image_ending}").array(f"{masks}/{number}{ending}", array)
        return self
