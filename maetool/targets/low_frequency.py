"""The low frequencies of an image as target."""

from collections.abc import Sequence

import torch
from torch import Tensor

from maetool.annotations import Count, Size
from maetool.errors import UsageError
from maetool.ops.stats import along_channels
from maetool.registry import TARGETS

from .pixel import PixelTarget, channel_stats


@TARGETS.register_module()
class LowFrequencyTarget(PixelTarget):
    """The pixels of an image without its high frequencies, cut into patches and normalised as by `PixelTarget`.

    The filter is computed on whole images, in their stored units: an ideal circle in the discrete Fourier transform,
    and the absolute value of what comes back. The circle is one of bins, also where the image is no square, and centred
    between the four bins around the mean, as in the published code (open-mmlab/mmselfsup, `low_freq_generator.py`).
    Source: PixMIM, section 3.2.

    Args:
        patch_size, in_chans, norm_pix_loss: see `PixelTarget`.
        radius: of the circle, in bins, which are periods along a side of the image; 40 is the paper's at 224 pixels.
        mean, std: of each channel, to undo the normalisation of the images; the preprocessor's are filled in. Without
            them the images are taken as they are.

    Raises:
        UsageError: a radius that is not positive, or other numbers of means or deviations than channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        patch_size: Size,
        in_chans: Count = 3,
        norm_pix_loss: bool = True,
        radius: float = 40.0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(patch_size, in_chans, norm_pix_loss)
        if not radius > 0:
            raise UsageError(f"radius is {radius!r}, but must be positive: 40 at 224 pixels is the published one.")
        mean, std = (0.0,) * in_chans if mean is None else mean, (1.0,) * in_chans if std is None else std
        self.radius = radius
        for name, values in zip(("mean", "std"), channel_stats(mean, std, in_chans, type(self)), strict=True):
            self.register_buffer(name, values, persistent=False)  # (C,)

    @torch.no_grad()
    def picture(self, images: Tensor) -> Tensor:
        """Return images (B, C, H, W) without their high frequencies, float32 and normalised as they came.

        Raises:
            UsageError: images of another rank.
        """
        if images.ndim != 4:
            raise UsageError(
                f"LowFrequencyTarget filters images of shape (batch, channels, height, width), but got "
                f"{tuple(images.shape)}: pass the frames of a clip one by one, or use PixelTarget."
            )
        mean, std = along_channels(self.mean, images), along_channels(self.std, images)
        stored = images.float() * std + mean
        low = torch.fft.ifft2(torch.fft.fft2(stored) * self._circle(stored)).abs()
        return (low - mean) / std

    def _circle(self, images: Tensor) -> Tensor:
        rows, columns = (torch.arange(side, device=images.device) - (side - 1) / 2 for side in images.shape[2:])
        inside = rows[:, None] ** 2 + columns[None, :] ** 2 <= self.radius**2
        return torch.fft.ifftshift(inside.float())
