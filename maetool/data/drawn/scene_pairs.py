"""Pairs of pictures that are drawn: one scene from two places."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.registry import DATASETS

from .base import DrawnDataset
from .scene import TEXTURES, TURN, Array, draw_ground, draw_object, moved_to, paint


@DATASETS.register_module()
class ScenePairsDataset(DrawnDataset):
    """Two pictures of a scene, seen from two places: six channels, the three of the first and the three of the second.

    Lit objects lie at different distances before a textured wall. From the second place, a step to the side, up or
    down, all is displaced by the step over its distance: the nearer, the further. The class is the texture of the wall,
    as in `ShapesDataset`; everything else is random, a function of (seed, index) alone.

    Args:
        num_samples: number of pairs N.
        img_size: side, or (height, width), in pixels; at least 16.
        seed: another seed is another set of pairs, for example for validation; also seeds the augmentation.
        pipeline: transforms, as a rule `SplitViews` first; see `ImageDataset`.
        cache: keep the drawn pairs in memory (N x 6 x H x W bytes), each worker its own; what `load` returns is the
            same either way.
        labels_fraction, labels_per_class, part: which of the pairs are used, see `Subset`, drawn with `seed`.

    Raises:
        UsageError: an argument of another type or out of range.
    """

    label_names: ClassVar = tuple(TEXTURES)
    metainfo: ClassVar = {"classes": label_names}

    def draw(self, index: int) -> Tensor:
        """Return the pair, uint8 (6, H, W)."""
        pair = draw_pair(self.label_of(index), self.img_size, self.rng(index))
        return torch.from_numpy(np.ascontiguousarray(pair.transpose(0, 3, 1, 2))).flatten(0, 1)


def draw_pair(label: int, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return a scene from two places, uint8 RGB (2, H, W, 3).

    Args:
        label: the class of the wall.
        size: (H, W).
        rng: draws everything else.
    """
    angle = rng.uniform(0, TURN)
    step = rng.uniform(0.05, 0.2) * np.array([np.cos(angle), np.sin(angle)])  # columns and rows, in short sides
    wall = int(rng.integers(2**63))
    distances = np.sort(rng.uniform(0.4, 0.9, rng.integers(3, 6)))[::-1]  # the wall has 1; the nearest is painted last
    things = [draw_object(size, rng) for _ in distances]
    pictures: list[Any] = []
    for way in (0 * step, -step):
        ground, light = draw_ground(label, size, np.random.default_rng(wall), way)
        objects = [
            moved_to(thing, thing.centre + way / distance, size)
            for thing, distance in zip(things, distances, strict=True)
        ]
        pictures.append(paint(ground, objects, light))
    return np.stack(pictures)
