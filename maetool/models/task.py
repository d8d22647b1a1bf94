"""One thing that is predicted from the tokens: what a masked image model has one of, or several."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.registry import HEADS, TARGETS
from maetool.structures import MaskPlan

from .base import check_loss
from .build import build_decoder, build_with

_TAKEN = ("main", "loss", "constant_predictor", "masked_fraction")


class PredictionTask(nn.Module):
    """A decoder, a target and a head, and the patches that they are for.

    Args:
        decoder, head: configs, or modules that are built already.
        target: config or module; None takes what the model's own target gives.
        own: the model's own target.
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
        own: nn.Module,
        at: Literal["planned", "visible", "all"] = "planned",
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        if at not in ("planned", "visible", "all") or not weight > 0:
            raise UsageError(
                f'A task has at={at!r} and weight={weight!r}, but `at` must be "planned", "visible" or "all", and the '
                "weight positive."
            )
        if target is None and at != "planned":
            raise UsageError(f'A task at="{at}" has no target, but the model\'s own is for planned patches: state one.')
        self.target = None if target is None else build_with(TARGETS, target, facts)
        self.decoder = build_decoder(decoder, facts, (self.target or own).out_dim)
        self.head = build_with(HEADS, head, facts)
        self.at, self.weight = at, weight
        check_pair(self.target or own, self.head)
        check_place(self.decoder, self.target or own, at)

    def forward(self, latent: Any, images: Tensor, plan: MaskPlan, own: Tensor) -> dict[str, Tensor]:
        """Return the losses of the head.

        Args:
            latent: what the decoder reads, tokens (B, T + V, D) or those of several layers.
            images: (B, C, H, W).
            plan: the plan of the batch.
            own: what the model's own target gave, which a task without a target learns too.
        """
        plan = plan.predicting(self.at)
        pred = self.decoder(latent, plan)  # (B, M, P)
        losses = self.head(pred, own if self.target is None else self.target(images, plan), plan)
        check_loss(losses, type(self.head).__name__)
        return losses


def build_tasks(tasks: Mapping[str, Any], facts: Mapping[str, Any], own: nn.Module) -> nn.ModuleDict:
    """Build the tasks of a model, whose own target is `own`, by name.

    Raises:
        UsageError: a name that means something else in the logs, an argument that there is not, or see
            `PredictionTask`.
    """
    known = {"decoder", "target", "head", "at", "weight"}
    for name, task in tasks.items():
        if name in _TAKEN:
            raise UsageError(f"A task is called {name!r}, but {', '.join(_TAKEN)} are taken in the logs: rename it.")
        if not {"decoder", "head"} <= set(task) <= known:
            raise UsageError(
                f"The task {name} says {', '.join(task)}, but must say decoder and head, and may say target, at and "
                "weight."
            )
    return nn.ModuleDict(
        {name: PredictionTask(**{"target": None, **task}, facts=facts, own=own) for name, task in tasks.items()}
    )


def check_place(decoder: nn.Module, target: nn.Module, at: str) -> None:
    """Check that a decoder and a target can be used for the patches they are for.

    Raises:
        UsageError: one of them cannot.
    """
    for part in (decoder, target):
        only = getattr(part, "predicts", at)
        if only != at:
            raise UsageError(
                f'{type(part).__name__} is for {only} patches only, but is used for those that are "{at}": use it in '
                f'one of model.tasks with at="{only}".'
            )
    reads, gives = (getattr(part, "predicted_prefix", 0) for part in (decoder, target))
    if reads != gives:
        raise UsageError(
            f"{type(decoder).__name__} predicts {reads} tokens of the prefix, but {type(target).__name__} gives "
            f"{gives}: set predict_prefix of both alike, with a teacher that has as many such tokens as the encoder."
        )


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
