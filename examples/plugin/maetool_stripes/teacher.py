"""A teacher that looks twice."""

from typing import Any

from torch import Tensor

from maetool.registry import TEACHERS
from maetool.structures import Layout
from maetool.teachers import MomentumTeacher


@TEACHERS.register_module()
class MirrorTeacher(MomentumTeacher):
    """The moving average of the encoder, whose features are the mean over an image and its mirror image.

    Arguments: see `MomentumTeacher`.
    """

    def features(self, batch: Any, layout: Layout) -> list[Tensor]:
        """Return the tokens (B, T + L, D) of each layer, of images (B, C, H, W)."""
        both = zip(super().features(batch, layout), super().features(batch.flip(-1), layout), strict=True)
        return [(own + self._mirrored(other, layout.grid)) / 2 for own, other in both]

    def _mirrored(self, tokens: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Return tokens (B, T + L, D) with the patches of each row in the opposite order."""
        mirrored, first = tokens.clone(), self.num_prefix_tokens
        mirrored[:, first:] = tokens[:, first:].unflatten(1, grid).flip(2).flatten(1, 2)
        return mirrored
