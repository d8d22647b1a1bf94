"""A masker that deals the places of an image out to several images."""

from math import prod

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.groups import in_groups
from maetool.ops.random import KeyedRandom
from maetool.registry import MASKERS

from .base import Masker


@MASKERS.register_module()
class GroupMasker(Masker):
    """Deals the places of the grid out at random to the images of a group, so that together they fill one image.

    Each place is visible in one image of a group; of places that do not divide, a few are in none. A group is so many
    images in a row of the batch, its draw that of its first image's key; the last group of a batch may be smaller.
    Source: MixedAE (Chen et al., 2023), with 4 images.

    Args:
        images: of a group; each keeps its share of the places.

    Attributes:
        of_batch: True: what is hidden in a sample depends on its neighbours.

    Raises:
        UsageError: fewer than two images.
    """

    of_batch = True
    takes_padding = False

    def __init__(self, images: int = 4) -> None:
        if type(images) is not int or images < 2:
            raise UsageError(f"images is {images!r}, but must be a number of images that share a grid, at least 2.")
        super().__init__(1 - 1 / images)
        self.images = images

    def set_ratio(self, mask_ratio: float) -> None:
        """Refuse: the images of a group share the grid, whatever is wanted.

        Args:
            mask_ratio: not used.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"GroupMasker removes what {self.images} images of a group leave to each other, so that no schedule can "
            "change its ratio: leave out mask_ratios, or set `images`."
        )

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return scores (B, L), smallest where an image of its group is the one to be seen."""
        length = prod(grid)
        rank = rng.order(length).argsort(dim=1)  # (B, L)
        own = []
        for group in in_groups(rank, self.images):  # (G, n, L)
            first = torch.arange(group.shape[1], device=rank.device)[:, None] * self.num_keep(grid)
            own.append(((group[:, :1] - first) % length).flatten(0, 1))
        return torch.cat(own)
