"""Drawn pictures of many bands, as a satellite sees covers of the ground."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.registry import DATASETS

from .base import DrawnDataset
from .scene import TEXTURES, Array, draw_object, draw_pattern, glow, positions

BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
# As SatMAE puts the ten bands of Sentinel-2 together (Cong et al., 2022).
GROUPS = {"visible": (0, 1, 2, 6), "red_edge": (3, 4, 5, 7), "short_wave": (8, 9)}
# Reflectance in percent in each band. The shapes of the curves are those of the textbooks; no place was measured.
COVERS = {
    "water": (6, 5, 3, 3, 2, 2, 2, 2, 1, 1),
    "crops": (4, 8, 5, 13, 30, 38, 42, 44, 22, 11),
    "forest": (2, 4, 3, 7, 18, 23, 26, 28, 12, 5),
    "dry grass": (9, 13, 18, 23, 29, 33, 37, 39, 40, 25),
    "bare soil": (10, 14, 19, 22, 24, 26, 28, 30, 36, 32),
    "sand": (18, 25, 32, 35, 37, 38, 40, 41, 46, 42),
    "roofs": (20, 22, 24, 25, 26, 27, 28, 29, 33, 31),
    "snow": (84, 83, 82, 80, 78, 75, 72, 69, 10, 7),
}
SPECTRA = 100 * np.array(list(COVERS.values()), dtype=np.float32)  # (8, 10)
_OBJECTS = 3


@DATASETS.register_module()
class BandsDataset(DrawnDataset):
    """Pictures of ten bands, those of Sentinel-2 at 10 and 20 m: two covers of the ground in a pattern, others on it.

    The class is the pattern, as in `ShapesDataset`; the covers that it is made of, the light and the brightness of each
    group of bands are random. Bands of a group are much alike, and other groups show other differences: snow and sand
    lie apart in the visible bands and in the short waves, crops and soil in the red edge, forest and water in both.

    `inputs` are float32 (10, H, W), reflectance times 10,000 as Sentinel-2's products store it, with a mean of about
    2,400 and a deviation of about 1,900. `BANDS`, `GROUPS` (indices of the bands of each group, as in SatMAE) and
    `COVERS` are in `maetool.data.drawn.bands`.

    Args:
        num_samples: number of pictures N.
        img_size: side, or (height, width), in pixels; at least 16.
        seed: another seed is another set of pictures, for example for validation; also seeds the augmentation.
        pipeline: transforms, see `ImageDataset`; `SplitChannels` makes a stream of each group.
        cache: keep the drawn pictures in memory (N x 10 x H x W x 4 bytes), each worker its own; what `load` returns is
            the same either way.
        labels_fraction, labels_per_class, part: which of the pictures are used, see `Subset`, drawn with `seed`.

    Raises:
        UsageError: an argument of another type or out of range.
    """

    label_names: ClassVar = tuple(TEXTURES)
    metainfo: ClassVar = {"classes": label_names}
    in_chans: ClassVar = len(BANDS)

    def __init__(
        self,
        num_samples: Count,
        img_size: Size,
        seed: int = 0,
        pipeline: Sequence[Any] = (),
        cache: bool = True,
        labels_fraction: float | None = None,
        labels_per_class: int | None = None,
        part: str = "all",
    ) -> None:
        super().__init__(num_samples, img_size, seed, pipeline, cache, labels_fraction, labels_per_class, part)

    def draw(self, index: int) -> Tensor:
        """Return the picture, float32 (10, H, W)."""
        image = draw_bands(self.label_of(index), self.img_size, self.rng(index))
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def draw_bands(label: int, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return the picture of a pattern, float32 (H, W, 10), in ten-thousandths of the light that falls on it.

    Args:
        label: of the pattern.
        size: (H, W).
        rng: draws everything else.
    """
    u, v = positions(size)
    first, second, *others = SPECTRA[rng.permutation(len(SPECTRA))[: 2 + _OBJECTS]]
    image = first + draw_pattern(label, u, v, rng)[..., None] * (second - first)
    for spectrum in others:
        image += draw_object(size, rng).cover[..., None] * (spectrum - image)
    angle = rng.uniform(0, 2 * np.pi)
    image *= glow(u, v, np.array([np.cos(angle), np.sin(angle)]), rng)[..., None]
    image *= _gains(rng)
    image += rng.normal(0, 30, image.shape).astype(np.float32)  # of the sensor
    return np.clip(image, 0, 10_000).astype(np.float32)


def _gains(rng: np.random.Generator) -> Array:
    """Return how bright each band is (10,): each group by itself, and its bands almost alike."""
    gains = np.ones(len(BANDS), dtype=np.float32)
    for bands in GROUPS.values():
        gains[list(bands)] = rng.normal(1, 0.12) * rng.normal(1, 0.02, len(bands))
    return gains
