"""Which sample of the batch a patch is of."""

import torch
from torch import Tensor, nn

from maetool.annotations import Count
from maetool.registry import TARGETS
from maetool.structures import MaskPlan


@TARGETS.register_module()
class SampleTarget(nn.Module):
    """The number of the sample in its batch, as label of each of its patches, for a head that compares labels.

    Source: MixedAE, whose tokens recognise those of their own image.

    Args:
        out_dim: P, numbers that the decoder predicts for a patch, of which the head makes what it compares.

    Attributes:
        gives_tokens: True, the target is labels, int64 (B, M), below P: they begin again after P samples.
        of_batch: True, the target depends on the batch.
    """

    gives_tokens = True
    invertible = False
    of_batch = True

    def __init__(self, out_dim: Count = 128) -> None:
        super().__init__()
        self.out_dim = out_dim

    def forward(self, images: object, plan: MaskPlan) -> Tensor:
        """Return the labels at `plan.ids_predict`, int64 (B, M).

        Args:
            images: of the batch; not looked at.
            plan: of the batch.
        """
        numbers = torch.arange(len(plan.ids_predict), device=plan.ids_predict.device) % self.out_dim
        return numbers[:, None].expand_as(plan.ids_predict)
