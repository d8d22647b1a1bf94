"""Pictures drawn on the fly, so that every part of the toolbox can be tried without downloading anything."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.data.datasets.base import DEBUG_SAMPLES, ImageDataset
from maetool.data.datasets.subsets import Subset
from maetool.errors import UsageError
from maetool.ops.geometry import to_size
from maetool.registry import DATASETS

from .scene import OUTLINES, TEXTURES, Scene, draw_image, draw_scene

MIN_SIDE = 16  # below, the finest texture has less than three pixels a period


@DATASETS.register_module()
class ShapesDataset(ImageDataset):
    """Textured scenes with lit objects that occlude each other, drawn from (seed, index) alone.

    The class of a picture is the texture that fills it; colours, phase, scale, light and objects are random. The same
    scenes have boxes, instance masks and a semantic map (`scene`), whose classes are the outlines of the objects. All
    lengths scale with the short side: the same index shows the same scene at 32 and at 224 pixels. A horizontal flip
    turns rising into falling stripes: fine for pretraining, but not for training on the labels.

    Args:
        num_samples: number of pictures N.
        img_size: side, or (height, width), in pixels; at least 16.
        in_chans: channels C of `inputs`. 3 is RGB and 1 its luma; any other number looks at the colours through C
            bands spread from red to blue, each a fixed mix of the three planes.
        seed: another seed is another set of pictures, for example for validation; also seeds the augmentation.
        pipeline: transforms, see `ImageDataset`.
        cache: keep the drawn pictures in memory (N x C x H x W bytes), each worker its own; what `load` returns is
            the same either way.
        labels_fraction, labels_per_class, part: which of the pictures are used, see `Subset`, drawn with `seed`.

    Raises:
        UsageError: an argument of another type or out of range.
    """

    metainfo = {"classes": tuple(TEXTURES), "object_classes": tuple(OUTLINES)}
    debug_arguments: ClassVar = {"num_samples": DEBUG_SAMPLES, "labels_fraction": ..., "labels_per_class": ...}

    def __init__(
        self,
        num_samples: Count,
        img_size: Size,
        in_chans: Count = 3,
        seed: int = 0,
        pipeline: Sequence[Any] = (),
        cache: bool = True,
        labels_fraction: float | None = None,
        labels_per_class: int | None = None,
        part: str = "all",
    ) -> None:
        super().__init__(pipeline, seed)
        for name, value, least in (("num_samples", num_samples, 1), ("in_chans", in_chans, 1), ("seed", seed, 0)):
            if type(value) is not int or value < least:
                raise UsageError(f"{name} is {value!r}, but must be an integer of at least {least}.")
        self.img_size = to_size(img_size, "img_size")
        if min(self.img_size) < MIN_SIDE:
            raise UsageError(
                f"img_size is {img_size!r}, but the textures need at least {MIN_SIDE} pixels a side: take 32 or more."
            )
        self.in_chans = in_chans
        labels = _label(torch.arange(num_samples), seed)
        subset = Subset(part, None, labels_fraction, labels_per_class, seed)
        self.numbers = subset.choose(num_samples, labels)
        self.classes, self.labels = list(TEXTURES), labels[self.numbers]
        self._textures = self.labels
        self._bands = band_weights(in_chans)
        self._cache: dict[int, Tensor] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.numbers)

    def load(self, index: int) -> dict[str, Any]:
        """Return `inputs`, uint8 (C, H, W), and `label`, the texture class.

        Raises:
            IndexError: no sample has this index.
        """
        label = self.label_of(index)
        if self._cache is None:
            return {"inputs": self._draw(index), "label": label}
        if index not in self._cache:
            self._cache[index] = self._draw(index)
        # A copy, because a transform may work in place.
        return {"inputs": self._cache[index].clone(), "label": label}

    def scene(self, index: int) -> Scene:
        """Return the picture in RGB, whatever `in_chans` is, with its boxes, masks and semantic map.

        Raises:
            IndexError: no sample has this index.
        """
        return draw_scene(self.label_of(index), self.img_size, self._rng(index))

    def label_of(self, index: int) -> int:
        """Return the class of a sample without drawing it; K indices from a multiple of K on hold all K classes.

        Raises:
            IndexError: no sample has this index.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"Sample {index} does not exist: the dataset has {len(self)}.")
        return int(self._textures[index])

    def name_of(self, index: int) -> str:
        """Return the number of the picture among all that are drawn from `seed`."""
        return str(int(self.numbers[index]))

    def _draw(self, index: int) -> Tensor:
        image, _ = draw_image(self.label_of(index), self.img_size, self._rng(index))
        if self._bands is not None:
            image = np.rint(image @ self._bands).astype(np.uint8)  # (H, W, C)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))  # (C, H, W)

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, int(self.numbers[index])))


def _label(index: Any, seed: int) -> Any:
    # The order shifts from one round of the classes to the next, so that every second or eighth sample is balanced too.
    return (index + index // len(TEXTURES) + seed) % len(TEXTURES)


def band_weights(in_chans: int) -> np.ndarray | None:
    """Return the float32 matrix (3, C) that mixes RGB into C channels, or None where C is 3 and nothing is mixed.

    One channel is the luma; more are bands spread evenly from red to blue. The weights of a channel sum to 1.
    """
    if in_chans == 3:
        return None
    if in_chans == 1:
        return np.array([[0.299], [0.587], [0.114]], dtype=np.float32)
    centres, planes = np.linspace(0, 1, in_chans), np.array([[0.0], [0.5], [1.0]])
    weights = np.exp(-(((planes - centres) / 0.35) ** 2))
    return (weights / weights.sum(0)).astype(np.float32)
