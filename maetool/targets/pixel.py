"""The pixels themselves as target."""

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from maetool.annotations import Count, Size
from maetool.errors import UsageError
from maetool.ops.geometry import rank_of, to_size
from maetool.ops.patches import take_patches
from maetool.ops.stats import EPS, check_deviations, check_normalisable, patch_stats
from maetool.registry import TARGETS
from maetool.structures import MaskPlan

Statistics = Literal["true", "visible"]


@TARGETS.register_module()
class PixelTarget(nn.Module):
    """The pixels of a patch, ordered row, column, channel; optionally each patch with mean 0 and deviation 1.

    Patches may have any number of axes: those of a clip are ordered frame, row, column, channel.
    Source: MAE, section 3 ("Reconstruction target").

    Args:
        patch_size: (ph, pw), or one number, or (frames, ph, pw) and so on.
        in_chans: C.
        norm_pix_loss: normalise each patch by its own mean and standard deviation; "channel" takes those of each of its
            channels, as VideoMAE does (MCG-NJU/VideoMAE, `engine_for_pretraining.py`).

    Attributes:
        out_dim: P = ph * pw * C.
        invertible: True, `invert` gives pixels.
        units: of the pixels of a patch: "normalised", those of the images as they come.

    Raises:
        UsageError: `norm_pix_loss` with patches of a single number.
    """

    invertible = True
    units = "normalised"

    def __init__(self, patch_size: Size, in_chans: Count = 3, norm_pix_loss: bool | Literal["channel"] = True) -> None:
        super().__init__()
        if not isinstance(norm_pix_loss, bool) and norm_pix_loss != "channel":
            raise UsageError(f'norm_pix_loss is {norm_pix_loss!r}, but must be True, False or "channel".')
        self.patch_size = to_size(patch_size, "patch_size", rank_of(patch_size))
        self.norm_pix_loss, self.in_chans = norm_pix_loss, in_chans
        self.out_dim = prod(self.patch_size) * in_chans
        if norm_pix_loss:
            numbers = prod(self.patch_size) if norm_pix_loss == "channel" else self.out_dim
            check_normalisable(numbers, "norm_pix_loss", "target.norm_pix_loss=False")

    @torch.no_grad()
    def forward(self, images: Tensor, plan: MaskPlan) -> Tensor:
        """Return the float32 target (B, M, P) of images (B, C, H, W) at `plan.ids_predict`; others are not touched."""
        patches = self._pixels(self.picture(images), plan.ids_predict)  # (B, M, P)
        if not self.norm_pix_loss:
            return patches
        mean, std = self._stats(patches)
        return (patches - mean) / std

    def _stats(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of patches (B, N, P), both (B, N, 1), or of each channel (B, N, P)."""
        if self.norm_pix_loss != "channel":
            return patch_stats(patches)
        pixels = patches.unflatten(2, (-1, self.in_chans))
        std, mean = torch.std_mean(pixels, dim=2, keepdim=True)
        # The deviation is not below 1e-6, where MAE adds that to the variance.
        return mean.expand_as(pixels).flatten(2), (std + EPS).expand_as(pixels).flatten(2)

    def picture(self, images: Tensor) -> Tensor:
        """Return the images (B, C, H, W) whose patches are the target: here, as they come."""
        return images

    @torch.no_grad()
    def invert(self, pred: Tensor, images: Tensor, plan: MaskPlan, statistics: Statistics = "true") -> Tensor:
        """Return predictions (B, M, P) as pixels (B, M, P) of `picture(images)`, in the units of `images`.

        Args:
            pred: what the decoder predicts at `plan.ids_predict`.
            images: (B, C, H, W), where the statistics come from.
            plan: the plan of the prediction.
            statistics: "true" takes mean and deviation of the hidden patch itself: exact, but it tells more than the
                model knows. "visible" takes the average of the visible patches of the image. Without `norm_pix_loss`
                none are needed.

        Raises:
            UsageError: an unknown kind of statistics.
        """
        if statistics not in ("true", "visible"):
            raise UsageError(f'statistics is {statistics!r}, but must be "true" or "visible".')
        if not self.norm_pix_loss:
            return pred.float()
        ids = plan.ids_predict if statistics == "true" else plan.ids_keep
        mean, std = self._stats(self._pixels(self.picture(images), ids))
        if statistics == "visible":
            mean, std = mean.mean(dim=1, keepdim=True), std.mean(dim=1, keepdim=True)
        return pred.float() * std + mean

    def _pixels(self, images: Tensor, ids: Tensor) -> Tensor:
        patches = take_patches(images, self.patch_size, ids)  # (B, N, C, ph, pw)
        return patches.movedim(2, -1).flatten(2).float()  # (B, N, P)


def channel_stats(mean: Sequence[float], std: Sequence[float], in_chans: int, owner: type) -> tuple[Tensor, Tensor]:
    """Return the means and the standard deviations of the channels, float32 (C,) each.

    Args:
        mean: of each channel, in units of the pixels that are normalised by them.
        std: of each channel, above 0.
        in_chans: C.
        owner: class that they are for, named in the message.

    Raises:
        UsageError: other numbers of them than channels, or a deviation that is not positive.
    """
    check_deviations(std, owner.__name__)
    if not len(mean) == len(std) == in_chans:
        raise UsageError(
            f"The images have {in_chans} channels, but {owner.__name__} got {len(mean)} means and {len(std)} "
            "standard deviations: leave them out, the preprocessor's are taken."
        )
    return torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)
