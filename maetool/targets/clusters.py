"""Clusters of a teacher's tokens, which are learned meanwhile."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import Prototypes
from maetool.ops.sinkhorn import sinkhorn
from maetool.registry import TARGETS
from maetool.structures import MaskPlan


@TARGETS.register_module()
class ClusterTarget(nn.Module):
    """Each patch's share of every cluster, by the tokens of the model's teacher; the clusters are learned online.

    The similarities of all patches to all clusters become assignments that use the clusters equally, and these are what
    the similarities learn. No gradient leaves the target, so that the clusters may have an optimiser of their own; see
    `OptimizersByPartConstructor`. In training the images of all processes count, in evaluation those of each by itself.
    Source: CAPI (facebookresearch/capi, `model.py`).

    Args:
        model_teacher: the model's teacher; the model hands it over.
        clusters: K, which is P.
        temperature: of the assignments.
        learning_temperature: of the similarities that learn them.
        iterations: of `maetool.ops.sinkhorn.sinkhorn`.
        equal: over what the clusters are used equally: over the batch at each "place" of the images, so that no cluster
            stands for a place; or over the "batch", all patches of all images.

    Attributes:
        of_batch: True: the target of a sample depends on its batch.
        features_dim: D, of the teacher's tokens.

    Raises:
        UsageError: the model has no teacher, an unknown choice, or a single cluster.
    """

    needs = ("features",)
    invertible = False
    of_batch = True
    rounds_with_autocast = True
    debug_arguments: ClassVar = {"clusters": 16}

    def __init__(
        self,
        model_teacher: Any = None,
        clusters: Count = 16384,
        temperature: Positive = 0.06,
        learning_temperature: Positive = 0.12,
        iterations: FromZero = 3,
        equal: Literal["place", "batch"] = "place",
    ) -> None:
        super().__init__()
        if model_teacher is None:
            raise UsageError(
                "ClusterTarget clusters the features of model.teacher, but the model has none: add one, such as "
                'dict(type="MomentumTeacher").'
            )
        if equal not in ("place", "batch"):
            raise UsageError(f'equal is {equal!r}, but must be "place" or "batch".')
        if clusters < 2:
            raise UsageError(f"clusters is {clusters}, but with one all is alike: make it at least 2.")
        self.num_prefix_tokens, self.out_dim = model_teacher.num_prefix_tokens, clusters
        self.features_dim = model_teacher.out_dim
        self.temperature, self.learning_temperature = temperature, learning_temperature
        self.iterations, self.equal = iterations, equal
        self.clusters = Prototypes(self.features_dim, clusters, "free")

    @torch.no_grad()
    def forward(self, images: Any, plan: MaskPlan, features: Sequence[Tensor]) -> Tensor:
        """Return the float32 shares (B, M, K) at `plan.ids_predict`, each patch's with the sum 1.

        Args:
            images: not read.
            plan: of the batch.
            features: the teacher's tokens (B, T + L, D); of several layers the last is read.
        """
        return plan.take_predicted(self._shares(self._similarities(features)))

    def learn(self, images: Any, plan: MaskPlan, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return what `forward` does, and the loss of the clusters, a scalar: the cross entropy of all patches.

        Args:
            images, plan, features: see `forward`.
        """
        similarities = self._similarities(features)  # (B, L, K)
        shares = self._shares(similarities)
        logs = (similarities.float() / self.learning_temperature).log_softmax(dim=-1)
        return plan.take_predicted(shares), -(shares * logs).sum(dim=-1).mean()

    def _similarities(self, features: Sequence[Tensor]) -> Tensor:
        return self.clusters(features[-1][:, self.num_prefix_tokens :].detach())

    def _shares(self, similarities: Tensor) -> Tensor:
        """Return the assignments (B, L, K), without gradient."""
        scores = similarities.detach().float() / self.temperature
        if self.equal == "batch":
            return sinkhorn(scores.flatten(0, 1), self.iterations, together=self.training).view_as(scores)
        return sinkhorn(scores.transpose(0, 1), self.iterations, together=self.training).transpose(0, 1)
