"""What every stem says and gives."""

from typing import TypedDict

from torch import Tensor, nn

from maetool.structures import Layout
from maetool.structures.layout import ONLY


class StreamFacts(TypedDict):
    """What other parts must know of a stream.

    Attributes:
        patch_size: numbers of the input that a token covers along each axis.
        in_chans: channels.
        grid: tokens along each axis, of the size that is trained on.
    """

    patch_size: tuple[int, ...]
    in_chans: int
    grid: tuple[int, ...]


class Stem(nn.Module):
    """Base of the stems. A subclass writes `layout_of` and `forward`.

    A stem gives tokens without positions: these the encoder adds, when masks have taken the place of what is hidden.
    A `forward` that has an argument `hidden` gets bool (B, L), True for the places that a plan removes: what it makes
    of their content is dropped, and with a look at it a NaN there would reach the gradient of its weights.

    Attributes:
        patch_size, in_chans, grid: see `StreamFacts`; of a stem of several streams, `streams` says them of each.
        coord_dim: k of the coordinates that its layouts have; 0, they have none.
    """

    patch_size: tuple[int, ...]
    in_chans: int
    grid: tuple[int, ...]
    coord_dim = 0

    @property
    def streams(self) -> dict[str, StreamFacts]:
        """Name of each stream to its facts; the only stream of a stem is called as the stem is in its encoder."""
        return {ONLY: {"patch_size": self.patch_size, "in_chans": self.in_chans, "grid": self.grid}}

    def split(self, x: Tensor) -> dict[str, Tensor]:
        """Return the part of an input that each stream is made of, by name, for targets.

        Args:
            x: the input, as in `forward`.
        """
        return {ONLY: x}

    def layout_of(self, x: Tensor) -> Layout:
        """Return where the tokens of an input lie.

        Args:
            x: the input, as in `forward`; only its shape is read, unless it holds coordinates or padding.

        Raises:
            UsageError: the input does not fit.
        """
        raise NotImplementedError(f"{type(self).__name__} must say where its tokens lie: write `layout_of`.")

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (B, L, D) of an input, before positions, in the order of its layout.

        Args:
            x: the input, samples first; its other axes are the stem's own, such as (B, C, *size) for images.
        """
        raise NotImplementedError(f"{type(self).__name__} must make tokens: write `forward`.")
