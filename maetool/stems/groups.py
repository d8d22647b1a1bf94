"""Groups of the channels of one image, each of them a stream."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from maetool.annotations import Count, Size
from maetool.errors import UsageError
from maetool.layers import PatchEmbed
from maetool.ops.geometry import check_images, grid_of, rank_of, to_size
from maetool.ops.patches import without_patches
from maetool.registry import STEMS
from maetool.structures import Layout

from .base import Stem, StreamFacts


@STEMS.register_module()
class GroupStem(Stem):
    """Patches of groups of channels, each group with a linear map and tokens of its own, one group after the other.

    Source: SatMAE, section 3.3 (sustainlab-group/SatMAE, `models_mae_group_channels.py`).

    Args:
        groups: name of each group to the numbers of its channels; a list of groups alone names them "group0" and so on.
        img_size: (H, W), or one number for all axes: the size that is trained on. Other sizes work too.
        patch_size: (ph, pw), or one number; of 1, 2 or 3 axes.
        in_chans: C of the images; None, those that the groups name, and images may have more.
        embed_dim: D; the encoder's.

    Raises:
        UsageError: no groups, an empty one, or a number that is no channel.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[int]] | Sequence[Sequence[int]],
        img_size: Size = 224,
        patch_size: Size = 16,
        in_chans: Count | None = None,
        embed_dim: Count = 768,
    ) -> None:
        super().__init__()
        rank = rank_of(patch_size, img_size)
        named = groups if isinstance(groups, Mapping) else {f"group{i}": group for i, group in enumerate(groups)}
        self.groups = {name: tuple(group) for name, group in named.items()}
        _check_groups(self.groups, in_chans)
        self.img_size, self.patch_size = to_size(img_size, "img_size", rank), to_size(patch_size, "patch_size", rank)
        self.grid = grid_of(self.img_size, self.patch_size)
        self.exact = in_chans is not None
        self.in_chans = in_chans or 1 + max(number for group in self.groups.values() for number in group)
        self.patch_embed = nn.ModuleList(PatchEmbed(self.patch_size, len(g), embed_dim) for g in self.groups.values())
        for number, group in enumerate(self.groups.values()):  # on the device, so that no step copies them there
            self.register_buffer(f"channels{number}", torch.tensor(group, device="cpu"), persistent=False)

    @property
    def streams(self) -> dict[str, StreamFacts]:
        """Name of each group to its facts."""
        return {
            name: {"patch_size": self.patch_size, "in_chans": len(group), "grid": self.grid}
            for name, group in self.groups.items()
        }

    def layout_of(self, x: Tensor) -> Layout:
        """Return where the tokens of images `x` (B, C, *size) lie: every group on the same grid.

        Raises:
            UsageError: another number of channels, or fewer than the groups name, or a size that does not divide.
        """
        if not self.exact and isinstance(x, Tensor) and x.ndim > 1 and x.shape[1] > self.in_chans:
            check_images(x[:, : self.in_chans], self.in_chans, len(self.patch_size))
        else:
            check_images(x, self.in_chans, len(self.patch_size))
        return Layout.of(dict.fromkeys(self.groups, grid_of(x.shape[2:], self.patch_size)))

    def split(self, x: Tensor) -> dict[str, Tensor]:
        """Return the channels of each group of images `x` (B, C, *size), by name."""
        channels = (self.get_buffer(f"channels{number}") for number in range(len(self.groups)))
        return {name: x.index_select(1, own) for name, own in zip(self.groups, channels, strict=True)}

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Return the tokens (B, groups * L, D), all of the first group first.

        Args:
            x: images (B, C, *size).
            hidden: bool (B, groups * L), True where the group's pixels of a patch are set to zero.
        """
        images = list(self.split(x).values())
        if hidden is not None:
            shares = hidden.chunk(len(images), dim=1)
            pairs = zip(images, shares, strict=True)
            images = [without_patches(image, self.patch_size, own) for image, own in pairs]
        parts = zip(self.patch_embed, images, strict=True)
        return torch.cat([embed(part) for embed, part in parts], dim=1)

    @classmethod
    def debug_arguments(cls, arguments: dict[str, Size]) -> dict[str, Size]:
        """Return the arguments of the small form for `--debug`."""
        rank = rank_of(arguments["patch_size"], arguments["img_size"])
        return {"img_size": tuple(4 * side for side in to_size(arguments["patch_size"], "patch_size", rank))}


def _check_groups(groups: Mapping[str, Sequence[int]], in_chans: int | None) -> None:
    numbers = [number for group in groups.values() for number in group]
    if not groups or not all(groups.values()) or not all(type(n) is int and n >= 0 for n in numbers):
        raise UsageError(
            f"groups is {dict(groups)}, but must name at least one group, each of at least one number of a channel, "
            "counted from 0."
        )
    if in_chans is not None and max(numbers) >= in_chans:
        raise UsageError(
            f"groups names channel {max(numbers)}, counted from 0, but in_chans is {in_chans}: correct one."
        )
