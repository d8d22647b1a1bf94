"""Vertical stripes of an image as tokens, such as the time steps of a spectrogram."""

from torch import Tensor, nn

from maetool.ops.geometry import check_images, grid_of
from maetool.registry import STEMS
from maetool.stems.base import Stem
from maetool.structures import Layout


@STEMS.register_module()
class StripeStem(Stem):
    """One token for each stripe of some columns, over the whole height.

    Args:
        img_size: (H, W), of which H is fixed.
        width: columns of a stripe.
        in_chans: C.
        embed_dim: D; the encoder's.
    """

    def __init__(self, img_size: tuple[int, int] = (64, 96), width: int = 4, in_chans: int = 1, embed_dim: int = 64):
        super().__init__()
        self.height, self.stripe, self.in_chans = img_size[0], (img_size[0], width), in_chans
        self.patch_size, self.grid = (width,), grid_of(img_size, self.stripe)[1:]
        self.proj = nn.Conv2d(in_chans, embed_dim, self.stripe, self.stripe)

    def layout_of(self, x: Tensor) -> Layout:
        """Return the stripes of images (B, C, H, W), a grid of one axis."""
        check_images(x, self.in_chans)
        return Layout.of(grid_of(x.shape[2:], self.stripe)[1:])

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (B, L, D) of images (B, C, H, W)."""
        return self.proj(x).flatten(2).transpose(1, 2)
