"""The ids that an encoder reads as target."""

from typing import Any

import torch
from torch import Tensor, nn

from maetool.layers import words_of
from maetool.registry import TARGETS
from maetool.structures import MaskPlan


@TARGETS.register_module()
class IdTarget(nn.Module):
    """The ids of the input itself, of codes or of words, as an encoder with a `TokenStem` reads them.

    Source: BERT; MAGE (LTH14/mage, `models_mage.py`).

    Args:
        encoder: with the stem; the model hands it over.
        stem: its name; None, the only one that reads ids.

    Attributes:
        out_dim: P, how many ids there are.
        gives_tokens: True, the target is int64 (B, M) and the head classifies.

    Raises:
        UsageError: an encoder without such a stem, or with several.
    """

    gives_tokens = True
    invertible = False

    def __init__(self, encoder: Any, stem: str | None = None) -> None:
        super().__init__()
        self.out_dim, self.stem = words_of(encoder, stem).num_embeddings, stem
        self._encoder = (encoder,)  # in a tuple, where it is not registered a second time

    @torch.no_grad()
    def forward(self, images: Any, plan: MaskPlan) -> Tensor:
        """Return the ids at `plan.ids_predict`, int64 (B, M).

        Args:
            images: ids (B, *grid), or a mapping from streams to them.
            plan: of the batch.
        """
        if not isinstance(images, Tensor):
            images = images[self.stem or next(iter(images))]
        return images.flatten(1).long().gather(1, plan.ids_predict)
