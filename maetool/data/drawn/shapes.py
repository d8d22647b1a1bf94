"""Pictures drawn on the fly, so that every part of the toolbox can be tried without downloading anything."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.registry import DATASETS

from .base import MIN_SIDE as MIN_SIDE  # also the name that users look for here
from .base import DrawnDataset, check_whole
from .scene import OUTLINES, TEXTURES, Scene, draw_image, draw_scene


@DATASETS.register_module()
class ShapesDataset(DrawnDataset):
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

    label_names: ClassVar = tuple(TEXTURES)
    metainfo = {"classes": label_names, "object_classes": tuple(OUTLINES)}

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
        super().__init__(num_samples, img_size, seed, pipeline, cache, labels_fraction, labels_per_class, part)
        check_whole(in_chans=(in_chans, 1))
        self.in_chans = in_chans
        self._bands = band_weights(in_chans)

    def scene(self, index: int) -> Scene:
        """Return the picture in RGB, whatever `in_chans` is, with its boxes, masks and semantic map.

        Raises:
            IndexError: no sample has this index.
        """
        return draw_scene(self.label_of(index), self.img_size, self.rng(index))

    def draw(self, index: int) -> Tensor:
        """Return the picture, uint8 (C, H, W)."""
        image, _ = draw_image(self.label_of(index), self.img_size, self.rng(index))
        if self._bands is not None:
            image = np.rint(image @ self._bands).astype(np.uint8)  # (H, W, C)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))  # (C, H, W)


def band_weights(in_chans: int) -> np.ndarray | None:
    """Return the matrix float32 (3, C) that mixes RGB into C = `in_chans` channels; None for 3, which need no mixing.

    One channel is the luma; more are bands spread evenly from red to blue. The weights of a channel sum to 1.
    """
    if in_chans == 3:
        return None
    if in_chans == 1:
        return np.array([[0.299], [0.587], [0.114]], dtype=np.float32)
    centres, planes = np.linspace(0, 1, in_chans), np.array([[0.0], [0.5], [1.0]])
    weights = np.exp(-(((planes - centres) / 0.35) ** 2))
    return (weights / weights.sum(0)).astype(np.float32)
