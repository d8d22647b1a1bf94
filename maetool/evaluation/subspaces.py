"""Which part of the features tells classes: their principal subspace, or what is left of them."""

from typing import Any

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.protocols import ModelLike
from maetool.registry import METRICS

from .base import EvaluationData
from .features import Features, pixel_features, token_features
from .names import named
from .on_features import LinearProbeEvaluator

_NEGLIGIBLE = 1e-5  # deviation along a direction, as a share of the largest: rounding


def principal_subspaces(features: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return the directions along which features vary most, and those along which they vary less.

    Args:
        features: (N, D), of which directions without variance are left out.
        share: of the variance that the first directions explain, at least; in (0, 1).

    Returns:
        Orthonormal directions (D, k) of largest variance, as few as explain the share, and the rest (D, r), each
        ordered by falling variance, with one direction at least.
    """
    centred = features.double() - features.double().mean(dim=0)
    if len(centred) > centred.shape[1]:
        centred = torch.linalg.qr(centred, mode="r").R  # has the same directions and variances
    _, deviation, directions = torch.linalg.svd(centred, full_matrices=False)
    number = max(2, int((deviation > _NEGLIGIBLE * deviation[0]).sum()))  # features that are all the same, too
    explained = deviation[:number].square().cumsum(dim=0)
    top = min(int((explained < share * explained[-1]).sum()) + 1, number - 1)
    directions = directions[:number].T.to(features.dtype)
    return directions[:, :top], directions[:, top:]


@METRICS.register_module()
class SubspaceProbeEvaluator(LinearProbeEvaluator):
    """Linear probes on two parts of the features: the principal subspace of most of their variance, and the rest.

    `probe_top` and `probe_rest`, in percent, and `top_directions`, how many the principal subspace has. Source:
    Balestriero and LeCun, "How learning by reconstruction produces uninformative features for perception" (2024), who
    divide the pixels.

    Args:
        share: of the variance of the bank's features that the principal subspace explains, in (0, 1).
        pixels: also measure `probe_top_pixels` and `probe_rest_pixels`, of the raw pixels, at the first validation of a
            run. They are of at most 32 pixels along each axis.
        bank, optional: see `FeatureEvaluator`.
        weight_decay, steps: see `linear_probe_scores`.
        dataloader, every, prefix: see `BaseEvaluator`.

    Raises:
        UsageError: a share outside of (0, 1).
    """

    title = "The linear probe on subspaces"
    metric_names = named("probe_top", "probe_rest", "probe_top_pixels", "probe_rest_pixels", "top_directions")

    def __init__(
        self,
        share: float = 0.9,
        pixels: bool = False,
        bank: Any = None,
        weight_decay: float = 1e-3,
        steps: int = 100,
        optional: bool = False,
        dataloader: Any = None,
        every: int = 1,
        prefix: str | None = None,
    ) -> None:
        super().__init__(bank, weight_decay, steps, optional, dataloader, every, prefix)
        if not 0 < share < 1:
            raise UsageError(f"share is {share!r}, but must be a share of the variance between 0 and 1, such as 0.9.")
        self.share, self.pixels = share, pixels

    def measure(self, model: ModelLike, data: EvaluationData) -> dict[str, float]:
        """Return the accuracies of both probes."""
        features: dict[str, Features] = {"tokens": token_features}
        features |= {"pixels": pixel_features} if self.pixels else {}
        self.pixels = False
        sets = self.collected(data, features)
        if sets is None:
            return {}
        metrics: dict[str, float] = {}
        learned, asked = sets
        for name in features:
            ending = "" if name == "tokens" else "_pixels"
            top, rest = principal_subspaces(learned[name], self.share)
            metrics |= {} if ending else {"top_directions": top.shape[1]}
            for part, directions in (("top", top), ("rest", rest)):
                known, queries = (each[name] @ directions for each in (learned, asked))
                metrics[f"probe_{part}{ending}"] = self.accuracy(known, learned["label"], queries, asked["label"])
        return metrics
