"""The pixels of the picture that was stored as target."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.errors import UsageError
from maetool.registry import TARGETS
from maetool.structures import MaskPlan

from .pixel import PixelTarget, Statistics, channel_stats


@TARGETS.register_module()
class PictureTarget(PixelTarget):
    """The pixels of a patch as by `PixelTarget`, but of the picture without the normalisation of the images.

    Photographs are in [0, 1]. With `norm_pix_loss` it is another target too, because the channels of a patch share a
    mean. Source: CCViT (Cakeyan/CCViT_Public, `engine_for_pretraining.py`).

    Args:
        patch_size, in_chans, norm_pix_loss: see `PixelTarget`.
        mean, std: of each channel, in stored units (0 to 255 for photographs), how the images are normalised; the
            preprocessor's are filled in. Without them the images count as stored ones.
        white: the stored value that is 1 in a picture.

    Attributes:
        units: of the pixels of a patch: "picture".

    Raises:
        UsageError: a white that is not positive, or other numbers of means or deviations than channels.
    """

    units = "picture"
    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        patch_size: Size,
        in_chans: Count = 3,
        norm_pix_loss: bool | Literal["channel"] = True,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        white: float = 255.0,
    ) -> None:
        super().__init__(patch_size, in_chans, norm_pix_loss)
        if not white > 0:
            raise UsageError(f"white is {white!r}, but must be positive: 255 for photographs.")
        mean, std = (0.0,) * in_chans if mean is None else mean, (1.0,) * in_chans if std is None else std
        for name, values in zip(("shift", "scale"), channel_stats(mean, std, in_chans, type(self)), strict=True):
            self.register_buffer(name, values / white, persistent=False)  # (C,)

    @torch.no_grad()
    def invert(self, pred: Tensor, images: Tensor, plan: MaskPlan, statistics: Statistics = "true") -> Tensor:
        """Return predictions (B, M, P) as pixels (B, M, P) in the units of `images`; see `PixelTarget`."""
        pixels = super().invert(pred, images, plan, statistics).unflatten(2, (-1, len(self.scale)))
        return ((pixels - self.shift) / self.scale).flatten(2)

    def _pixels(self, images: Tensor, ids: Tensor) -> Tensor:
        pixels = super()._pixels(images, ids).unflatten(2, (-1, len(self.scale)))  # (B, N, ph * pw, C)
        return (pixels * self.scale + self.shift).flatten(2)  # (B, N, P)
