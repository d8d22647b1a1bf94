"""Clips that are drawn on the fly: objects that move over a still texture."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.registry import DATASETS

from .base import DrawnDataset, check_whole
from .scene import TEXTURES, TURN, Array, Object, draw_ground, draw_object, extent_of, moved_to, paint
from .shapes import band_weights

DIRECTIONS = ("right", "down", "left", "up")
SPEEDS = {"slow": 0.03, "fast": 0.08}  # short sides a frame: 1 and 2.6 of 32 pixels
_REACH = 1.7  # radii that an object and its shadow reach from its centre


@DATASETS.register_module()
class MovingShapesDataset(DrawnDataset):
    """Clips of lit objects that move over a still texture, drawn from (seed, index) alone.

    The class of a clip is the direction and the speed that its objects share, such as "right, slow"; texture, light,
    colours, forms and places are random. An object that leaves the picture comes back on the other side, so that every
    frame is equally likely in all classes: a single frame says nothing about the class. All lengths scale with the
    short side, as those of `ShapesDataset`. A horizontal flip swaps right and left: fine for pretraining, but not for
    training on the labels.

    Args:
        num_samples: number of clips N.
        img_size: side, or (height, width), in pixels; at least 16.
        frames: T, frames of a clip.
        in_chans: channels C of `inputs`, see `ShapesDataset`.
        seed: another seed is another set of clips, for example for validation; also seeds the augmentation.
        pipeline: transforms of clips (C, T, H, W); those of maetool draw once for all frames. See `ImageDataset`.
        cache: keep the drawn clips in memory (N x C x T x H x W bytes), each worker its own; what `load` returns is
            the same either way.
        labels_fraction, labels_per_class, part: which of the clips are used, see `Subset`, drawn with `seed`.

    Raises:
        UsageError: an argument of another type or out of range.
    """

    label_names: ClassVar = tuple(f"{direction}, {speed}" for direction in DIRECTIONS for speed in SPEEDS)
    metainfo: ClassVar = {"classes": label_names}
    debug_arguments: ClassVar = {**DrawnDataset.debug_arguments, "frames": ...}

    def __init__(
        self,
        num_samples: Count,
        img_size: Size,
        frames: Count = 8,
        in_chans: Count = 3,
        seed: int = 0,
        pipeline: Sequence[Any] = (),
        cache: bool = True,
        labels_fraction: float | None = None,
        labels_per_class: int | None = None,
        part: str = "all",
    ) -> None:
        super().__init__(num_samples, img_size, seed, pipeline, cache, labels_fraction, labels_per_class, part)
        check_whole(frames=(frames, 1), in_chans=(in_chans, 1))
        self.frames, self.in_chans = frames, in_chans
        self._bands = band_weights(in_chans)

    def draw(self, index: int) -> Tensor:
        """Return the clip, uint8 (C, T, H, W)."""
        clip = draw_clip(self.label_of(index), self.img_size, self.frames, self.rng(index))
        if self._bands is not None:
            clip = np.rint(clip @ self._bands).astype(np.uint8)  # (T, H, W, C)
        return torch.from_numpy(np.ascontiguousarray(clip.transpose(3, 0, 1, 2)))  # (C, T, H, W)


def draw_clip(label: int, size: tuple[int, int], frames: int, rng: np.random.Generator) -> Array:
    """Return a clip of a class, uint8 RGB (T, H, W, 3); its first frame is that of every class from the same draws.

    Args:
        label: of the class, a direction and a speed.
        size: (H, W).
        frames: T.
        rng: draws everything else.
    """
    velocity = _velocity(label, rng)
    ground, light = draw_ground(int(rng.integers(len(TEXTURES))), size, rng)
    things = [draw_object(size, rng) for _ in range(rng.integers(3, 5))]
    starts = rng.uniform(0, 1, (len(things), 2))
    places = [
        [_place(thing, start, velocity * frame, size) for thing, start in zip(things, starts, strict=True)]
        for frame in range(frames)
    ]
    return np.stack([paint(ground, objects, light) for objects in places])


def _velocity(label: int, rng: np.random.Generator) -> Array:
    """Return columns and rows (2,), in short sides a frame."""
    direction, speed = divmod(label, len(SPEEDS))
    angle = TURN * direction / len(DIRECTIONS) + rng.uniform(-0.3, 0.3)
    return list(SPEEDS.values())[speed] * rng.uniform(0.85, 1.15) * np.array([math.cos(angle), math.sin(angle)])


def _place(thing: Object, start: Array, way: Array, size: tuple[int, int]) -> Object:
    """Return an object after a way (2,) from where it starts, (2,) in [0, 1] of all places that show some of it."""
    reach = _REACH * thing.radius
    room = extent_of(size) + 2 * reach
    return moved_to(thing, (start * room + way) % room - reach, size)
