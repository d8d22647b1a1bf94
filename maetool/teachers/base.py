"""What every teacher shares."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.layers import find_even_layers
from maetool.structures import Layout


class Teacher(nn.Module):
    """Base of the teachers: an encoder that learns nothing by gradients, and what it says about a batch.

    The model asks a teacher for each clue at most once a step, and shares it between the masker and the targets. The
    teacher sees the whole batch, draws nothing at random, and travels in the checkpoint.

    Args:
        encoder: the encoder, a module.
        layers: whose tokens are "features", 0 being what enters the first block and -1 what leaves the last; None
            takes what the encoder returns, after its final norm.

    Raises:
        UsageError: layers that there are not, or that differ in their width or number of tokens.

    Attributes:
        gives: the clues that parts can name in their `needs`: "features", a list of tokens (B, T + L, D), one of each
            layer; "attention" (B, heads, T + L, T + L), of the last block, queries in rows, each summing to 1.
    """

    gives: tuple[str, ...] = ("features", "attention")

    def __init__(self, encoder: Any, layers: Sequence[int] | None = None) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()
        self.layers = None if layers is None else find_even_layers(encoder, layers, type(self).__name__)

    @property
    def out_dim(self) -> int:
        """D, the width of the features."""
        return self.encoder.embed_dim

    @property
    def num_prefix_tokens(self) -> int:
        """T, the tokens that come before those of the patches."""
        return self.encoder.num_prefix_tokens

    def train(self, mode: bool = True) -> "Teacher":
        """Return self; the teacher stays in evaluation mode whatever the model does."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, batch: Any, layout: Layout, names: Collection[str]) -> dict[str, Any]:
        """Return clues that the teacher `gives`, by name, from one pass where that is possible.

        Args:
            batch: images (B, C, *size), normalised, or a mapping from streams to tensors.
            layout: of its patches.
            names: of the clues.

        Raises:
            UsageError: it gives no such clue, or its encoder cannot.
        """
        if unknown := set(names) - set(self.gives):
            raise UsageError(f"{type(self).__name__} gives {', '.join(self.gives)}, but is asked for {min(unknown)}.")
        batch = self.prepare(batch)
        if "attention" not in names:
            return {name: getattr(self, name)(batch, layout) for name in names}
        one_pass = "features" in names and type(self).features is Teacher.features
        attention, features = self._attend(batch, one_pass)
        clues: dict[str, Any] = {"attention": attention, **({"features": features} if one_pass else {})}
        return clues | {name: getattr(self, name)(batch, layout) for name in names if name not in clues}

    def prepare(self, batch: Any) -> Any:
        """Return a batch as the teacher expects it."""
        return batch

    def features(self, batch: Any, layout: Layout) -> list[Tensor]:
        """Return the tokens (B, T + L, D) of each layer.

        Args:
            batch: images (B, C, *size), or a mapping of streams, with nothing hidden.
            layout: where its tokens lie.
        """
        return [self.encoder(batch)] if self.layers is None else self.encoder(batch, None, self.layers)

    def _attend(self, batch: Any, features: bool) -> tuple[Tensor, list[Tensor]]:
        """Return the attention of the last block, and the features if they are asked for."""
        if not callable(getattr(self.encoder, "attention", None)):
            raise UsageError(
                f"{type(self.encoder).__name__} gives no attention, because it has no method `attention`: take "
                "VisionTransformer or a plain ViT of timm as the teacher's encoder."
            )
        if not features:
            return self.encoder.attention(batch), []
        last = self.layers is None
        attention, levels = self.encoder.attention(batch, [-1] if last else self.layers)
        return attention, [self.encoder.norm(levels[0])] if last else levels
