"""One thing that is predicted from the tokens: what a masked image model has one of, or several."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.registry import DECODERS, HEADS, TARGETS
from maetool.structures import MaskPlan

from .build import build_with


class PredictionTask(nn.Module):
    """A decoder, a target and a head, and the patches that they are for.

    Args:
        decoder, target, head: configs, or modules that are built already.
        facts: what the encoder and the preprocessor say, for what the parts leave out; see `MaskedImageModel`.
        at: the patches: "planned", those of the plan; "visible"; or "all". See `MaskPlan.predicting`.
        weight: of the loss in the sum of all.

    Raises:
        UsageError: parts that contradict each other, a head for another kind of target, or a weight that is not
            positive.
    """

    def __init__(
        self,
        decoder: Any,
        target: Any,
        head: Any,
        facts: Mapping[str, Any],
        at: Literal["planned", "visible", "all"] = "planned",
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        if at not in ("planned", "visible", "all") or not weight > 0:
            raise UsageError(
                f'A task has at={at!r} and weight={weight!r}, but `at` must be "planned", "visible" or "all", and the '
                "weight positive."
            )
        self.target = build_with(TARGETS, target, facts)
        self.decoder = build_with(DECODERS, decoder, {**facts, "out_dim": self.target.out_dim})
        self.head = build_with(HEADS, head, facts)
        self.at, self.weight = at, weight
        check_pair(self.target, self.head)

    def forward(self, latent: Tensor, images: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return the losses of the head from tokens (B, T + V, D) of images (B, C, H, W)."""
        plan = plan.predicting(self.at)
        pred = self.decoder(latent, plan)  # (B, M, P)
        return self.head(pred, self.target(images, plan), plan)


def check_pair(target: nn.Module, head: nn.Module) -> None:
    """Check that a head takes what a target gives.

    Raises:
        UsageError: a target of tokens with a head for numbers, or the other way round.
    """
    gives, takes = getattr(target, "gives_tokens", False), getattr(head, "takes_tokens", False)
    if gives == takes:
        return
    legal = "a head that classifies, such as ClassificationHead" if gives else "a regression head"
    raise UsageError(
        f"{type(target).__name__} gives {'tokens' if gives else 'numbers'}, but {type(head).__name__} takes "
        f"{'tokens' if takes else 'numbers'}: use {legal}."
    )
