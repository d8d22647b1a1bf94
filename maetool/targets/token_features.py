"""Tokens of a teacher as target, and those of the model's own teacher."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.errors import UsageError
from maetool.ops.stats import check_normalisable, patch_stats
from maetool.registry import TARGETS
from maetool.structures import MaskPlan

Normalisation = Literal["token", "layer", "length", "none"]


class TokenFeatures(nn.Module):
    """Base of the targets that are tokens of a teacher, of one layer or the average of several.

    They are normalised in float32.

    Args:
        width: D, of the tokens; P is the same.
        num_prefix_tokens: of the teacher.
        normalise: each token of each layer: "token", to mean 0 and deviation 1 (unbiased; dBOT, MaskDistill); "layer",
            by a layer norm without weights (I-JEPA); "length", to length 1 (DMAE); or "none".
        predict_prefix: give the features of the teacher's prefix too, which come first (dBOT).

    Attributes:
        predicted_prefix: tokens of the prefix that are given, T or 0.

    Raises:
        UsageError: an unknown choice, or no prefix to predict.
    """

    invertible = False
    rounds_with_autocast = True

    def __init__(self, width: int, num_prefix_tokens: int, normalise: Normalisation, predict_prefix: bool) -> None:
        super().__init__()
        if predict_prefix and not num_prefix_tokens:
            raise UsageError("predict_prefix is True, but the teacher has no class token: set it to False.")
        if normalise not in ("token", "layer", "length", "none"):
            raise UsageError(f'normalise is {normalise!r}, but must be "token", "layer", "length" or "none".')
        if normalise in ("token", "layer"):
            check_normalisable(width, f'normalise="{normalise}"', 'target.normalise="none"')
        self.predicted_prefix = num_prefix_tokens if predict_prefix else 0
        self.num_prefix_tokens, self.normalise, self.width = num_prefix_tokens, normalise, width
        self.out_dim = width

    def average(self, levels: Sequence[Tensor], plan: MaskPlan, seen: bool = False) -> Tensor:
        """Return the float32 mean over the layers of their normalised tokens at `plan.ids_predict`, (B, M, P).

        Args:
            levels: the tokens (B, T + L, P) of each layer.
            plan: which patches.
            seen: the tokens are those of the visible patches only, (B, T + V, P).

        Returns:
            With `predict_prefix` (B, T + M, P), those of the prefix first.
        """
        return torch.stack(self.of_layers(levels, plan, seen)).mean(dim=0)

    def of_layers(self, levels: Sequence[Tensor], plan: MaskPlan, seen: bool = False) -> list[Tensor]:
        """Return the float32 normalised tokens (B, M, P) of each layer; see `average`: `levels`, `plan` and `seen`.

        Raises:
            UsageError: layers that differ in their width or number of tokens.
        """
        if len({x.shape for x in levels}) > 1:
            shapes = " and ".join(f"{x.shape[1]} tokens of {x.shape[2]} numbers" for x in levels)
            raise UsageError(
                f"{type(self).__name__} takes layers that are alike, but the teacher gives {shapes}: name layers of "
                "equal width that have one token for each patch."
            )
        return [self._normalised(self._chosen(x, plan, seen).float()) for x in levels]

    def _chosen(self, tokens: Tensor, plan: MaskPlan, seen: bool) -> Tensor:
        take = plan.take_seen if seen else plan.take_predicted
        patches = take(tokens[:, self.num_prefix_tokens :])
        return torch.cat([tokens[:, : self.predicted_prefix], patches], dim=1) if self.predicted_prefix else patches

    def _normalised(self, tokens: Tensor) -> Tensor:
        if self.normalise == "token":
            mean, std = patch_stats(tokens)
            return (tokens - mean) / std
        if self.normalise == "layer":
            return functional.layer_norm(tokens, tokens.shape[-1:])
        return functional.normalize(tokens, dim=-1) if self.normalise == "length" else tokens


@TARGETS.register_module()
class TeacherFeatureTarget(TokenFeatures):
    """Features of the model's own teacher, `model.teacher`, which the masker may ask too: computed once a step.

    Which layers they are of, the teacher says. A target whose teacher nobody else asks has its own: `FeatureTarget`,
    `MomentumFeatureTarget`.

    Args:
        model_teacher: the model's teacher; the model hands it over.
        normalise, predict_prefix: see `TokenFeatures`.
        combine: what is done with several layers: their "mean", or "concatenate", each has its own D of the P numbers,
            in the order of the teacher's `layers` (MaskAlign).

    Raises:
        UsageError: the model has no teacher, an unknown choice, or see `TokenFeatures`.
    """

    needs = ("features",)

    def __init__(
        self,
        model_teacher: Any = None,
        normalise: Normalisation = "token",
        predict_prefix: bool = False,
        combine: Literal["mean", "concatenate"] = "mean",
    ) -> None:
        if model_teacher is None:
            raise UsageError(
                "TeacherFeatureTarget takes the features of model.teacher, but the model has none: add one, such as "
                'dict(type="MomentumTeacher").'
            )
        if combine not in ("mean", "concatenate"):
            raise UsageError(f'combine is {combine!r}, but must be "mean" or "concatenate".')
        super().__init__(model_teacher.out_dim, model_teacher.num_prefix_tokens, normalise, predict_prefix)
        self.combine = combine
        if combine == "concatenate":
            self.out_dim = self.width * len(getattr(model_teacher, "layers", None) or [None])

    @torch.no_grad()
    def forward(self, images: Any, plan: MaskPlan, features: Sequence[Tensor]) -> Tensor:
        """Return the float32 features (B, M, P) at `plan.ids_predict`, or (B, T + M, P); see `TokenFeatures`.

        Args:
            images: not read.
            plan: of the batch.
            features: the teacher's tokens (B, T + L, D) of each layer.
        """
        if self.combine == "mean":
            return self.average(features, plan)
        return torch.cat(self.of_layers(features, plan), dim=-1)
