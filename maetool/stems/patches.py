"""Patches of images, clips, volumes and series."""

from torch import Tensor

from maetool.annotations import Count, Size
from maetool.layers import PatchEmbed
from maetool.ops.geometry import check_images, grid_of, rank_of, to_size
from maetool.ops.patches import without_patches
from maetool.registry import STEMS
from maetool.structures import Layout

from .base import Stem


@STEMS.register_module()
class PatchStem(Stem, PatchEmbed):
    """Patches to tokens by one linear map, the convolution `proj`.

    Args:
        img_size: (H, W), or one number for all axes: the size that is trained on. Other sizes work too.
        patch_size: (ph, pw), or one number; of 1, 2 or 3 axes.
        in_chans: C.
        embed_dim: D; the encoder's.

    Raises:
        UsageError: sizes that do not divide.
    """

    def __init__(
        self, img_size: Size = 224, patch_size: Size = 16, in_chans: Count = 3, embed_dim: Count = 768
    ) -> None:
        rank = rank_of(patch_size, img_size)
        super().__init__(to_size(patch_size, "patch_size", rank), in_chans, embed_dim)
        self.img_size, self.in_chans = to_size(img_size, "img_size", rank), in_chans
        self.grid = grid_of(self.img_size, self.patch_size)

    def layout_of(self, x: Tensor) -> Layout:
        """Return where the tokens of images `x` (B, C, *size) lie.

        Raises:
            UsageError: another number of axes or channels, or a size that does not divide.
        """
        check_images(x, self.in_chans, len(self.patch_size))
        return Layout.of(grid_of(x.shape[2:], self.patch_size))

    def forward(self, x: Tensor, ids: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """Return the tokens (B, L, D) of images, or those of some patches, (B, N, D).

        Args:
            x: images (B, C, *size).
            ids: the patches, int64 (B, N); None for all.
            hidden: bool (B, L), True where the pixels of a patch are set to zero.
        """
        return PatchEmbed.forward(self, x if hidden is None else without_patches(x, self.patch_size, hidden), ids)

    @classmethod
    def debug_arguments(cls, arguments: dict[str, Size]) -> dict[str, Size]:
        """Return the arguments of the small form for `--debug`."""
        rank = rank_of(arguments["patch_size"], arguments["img_size"])
        return {"img_size": tuple(4 * side for side in to_size(arguments["patch_size"], "patch_size", rank))}
