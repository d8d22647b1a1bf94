"""Patches with gaps between them."""

import torch
from torch import Tensor

from maetool.annotations import Size
from maetool.errors import UsageError
from maetool.registry import TRANSFORMS

from .crops import size_of


@TRANSFORMS.register_module()
class GappedPatches:
    """Cut a patch at a random place out of each cell of an image, and put these together to a smaller image.

    Without gaps the edge of a patch would say much about its neighbour. An image has as many cells as the output has
    patches; where a cell is g pixels longer than a patch, the patch begins at one of the first g pixels, so that the
    last one of the cell is never seen, as published. Draws from torch's default generator, which `ImageDataset` seeds.
    Source: Latent MIM, section 3.4 (yibingwei-1/LatentMIM, `vits.py`).

    Args:
        patch_size: (ph, pw), or one number, in pixels; that of the encoder.
        size: height and width of the output in pixels, or one number for both; the encoder's.

    Raises:
        UsageError: a size that does not divide into patches.
    """

    draws_by_torch_alone = True

    def __init__(self, patch_size: Size, size: Size) -> None:
        self.patch_size, self.size = size_of(patch_size), size_of(size)
        if any(side % patch for side, patch in zip(self.size, self.patch_size, strict=True)):
            raise UsageError(f"size is {size!r}, which does not divide into patches of {patch_size!r} pixels.")
        self.grid = tuple(side // patch for side, patch in zip(self.size, self.patch_size, strict=True))

    def __call__(self, image: Tensor) -> Tensor:
        """Return the patches (C, *size) of an image (C, H, W), or (C, T, *size) of a clip (C, T, H, W).

        Raises:
            UsageError: the image does not divide into as many cells, or these are smaller than patches.
        """
        sides = tuple(image.shape[-2:])
        cells = [side // number for side, number in zip(sides, self.grid, strict=True)]
        gaps = [cell - patch for cell, patch in zip(cells, self.patch_size, strict=True)]
        if any(side % number for side, number in zip(sides, self.grid, strict=True)) or min(gaps) < 0:
            raise UsageError(
                f"An image of {sides[0]} x {sides[1]} pixels does not have {self.grid[0]} x {self.grid[1]} cells for "
                f"patches of {self.patch_size[0]} x {self.patch_size[1]}: crop it to a multiple of the cells before."
            )
        rows, columns = (torch.randint(max(1, gap), self.grid) for gap in gaps)
        return self.cut(image, rows, columns)

    def cut(self, image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the patches that begin at given places of their cells, put together as an image (..., *size).

        Args:
            image: (..., H, W).
            rows, columns: int64 (h, w), the first pixel of each patch, counted from that of its cell.
        """
        (h, w), (ph, pw) = self.grid, self.patch_size
        rows = rows + torch.arange(h)[:, None] * (image.shape[-2] // h)  # (h, w), in the image
        columns = columns + torch.arange(w) * (image.shape[-1] // w)
        down, right = rows[..., None] + torch.arange(ph), columns[..., None] + torch.arange(pw)
        patches = image[..., down[..., None], right[..., None, :]]  # (..., h, w, ph, pw)
        return patches.transpose(-3, -2).flatten(-2).flatten(-3, -2)
