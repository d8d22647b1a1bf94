"""No target, for heads that look at predictions alone."""

from typing import Any

import torch
from torch import Tensor, nn

from maetool.registry import TARGETS
from maetool.structures import MaskPlan, tensors_of


@TARGETS.register_module()
class ZeroTarget(nn.Module):
    """Zeros, as wide as the encoder's tokens: of tasks whose head looks at predictions alone, as `SimilarityHead` does.

    Args:
        encoder_dim: D, which is P.
    """

    invertible = False

    def __init__(self, encoder_dim: int) -> None:
        super().__init__()
        self.out_dim = encoder_dim

    def forward(self, images: Any, plan: MaskPlan) -> Tensor:
        """Return zeros (B, M, P) for the patches to predict.

        Args:
            images: (B, C, *size), or a mapping of streams; not read.
            plan: of the batch.
        """
        return torch.zeros(*plan.ids_predict.shape, self.out_dim, device=tensors_of(images)[0].device)
