"""The drawn shapes with the class of every pixel, and written as a folder that `SegmentationDataset` reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.data.datasets.base import DEBUG_SAMPLES
from maetool.data.datasets.dense import DenseDataset
from maetool.data.datasets.segmentation import CLASSES_FILE
from maetool.registry import DATASETS
from maetool.writing import write_picture, write_text

from .scene import OUTLINES
from .shapes import ShapesDataset

CLASSES = ("background", *OUTLINES)
_QUALITY = 95  # of the JPEG files


@DATASETS.register_module()
class ShapesSegmentation(DenseDataset):
    """The scenes of `ShapesDataset` with the outlines of their objects as classes; the texture is the background.

    Args:
        num_samples, img_size, seed: see `ShapesDataset`.
        pipeline: see `DenseDataset`.
        cache: keep what was drawn in memory, each worker its own.
    """

    metainfo = {"classes": CLASSES}
    debug_arguments: ClassVar = {"num_samples": DEBUG_SAMPLES}

    def __init__(
        self,
        num_samples: Count,
        img_size: Size,
        seed: int = 0,
        pipeline: Sequence[Any] = (),
        cache: bool = True,
    ) -> None:
        super().__init__(pipeline, seed)
        self.shapes = ShapesDataset(num_samples, img_size, seed=seed, cache=False)
        self.classes = list(CLASSES)
        self._cache: dict[int, dict[str, Tensor]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.shapes)

    def load(self, index: int) -> dict[str, Any]:
        """Return `inputs`, uint8 (3, H, W), and `semantic`, int64 (H, W).

        Raises:
            IndexError: no sample has this index.
        """
        if self._cache is None:
            return self._draw(index)
        if index not in self._cache:
            self._cache[index] = self._draw(index)
        # A copy, because a transform may work in place.
        return {name: value.clone() for name, value in self._cache[index].items()}

    def _draw(self, index: int) -> dict[str, Tensor]:
        scene = self.shapes.scene(index)
        image = torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1)))
        return {"inputs": image, "semantic": torch.from_numpy(scene.semantic.astype(np.int64))}


def write_ade20k(dataset: ShapesDataset, folder: Path, part: str = "training") -> None:
    """Write the scenes of a dataset as ADE20K has them, and the names of the classes in `classes.txt`.

    `images/PART/NAME.jpg` are the pictures, `annotations/PART/NAME.png` the classes counted from 1; 0, which counts
    nothing there, does not occur.

    Args:
        dataset: the scenes.
        folder: made if it is not there.
        part: "training" or "validation".
    """
    pictures, truths = folder / "images" / part, folder / "annotations" / part
    write_text(folder / CLASSES_FILE, "\n".join(CLASSES) + "\n")
    for index in range(len(dataset)):
        scene, name = dataset.scene(index), f"{index:06d}"
        write_picture(pictures / f"{name}.jpg", scene.image, "JPEG", durable=False, quality=_QUALITY, subsampling=0)
        write_picture(truths / f"{name}.png", scene.semantic + np.uint8(1), "PNG", durable=False)
