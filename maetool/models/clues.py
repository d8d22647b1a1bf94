"""What maskers and targets ask for beside images and grid: found once a step, and shared."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.structures import Layout, MaskPlan

LATER = ("errors",)  # what only tasks can ask for, because it is known after the main prediction


class Clues:
    """Gives the clues of a batch by name, each computed at most once, and none that nobody asks for.

    Args:
        batch: one tensor, or a mapping from streams to tensors.
        layout: of its patches.
        encoder: gives "tokens", with gradient.
        teacher: gives what it names in `gives`, without gradient; or None.
        advisors: name to module from the batch to numbers (B, L), called without gradient.
        needs: what all parts together ask for, which the teacher gives in one pass.

    Attributes:
        learned: losses, scalars with gradient, of targets that learn.
    """

    def __init__(
        self,
        batch: Any,
        layout: Layout,
        encoder: Any,
        teacher: Any = None,
        advisors: Mapping[str, Callable[[Any], Any]] | None = None,
        needs: Collection[str] = (),
    ) -> None:
        self._batch, self.layout, self._encoder = batch, layout, encoder
        self._teacher, self._advisors, self._needs = teacher, advisors or {}, needs
        self._known: dict[str, Any] = {"images": batch}
        self.learned: list[Tensor] = []

    def of(self, part: Any) -> dict[str, Any]:
        """Return what a part names in its `needs`."""
        return {name: self[name] for name in getattr(part, "needs", ()) if name not in LATER}

    def ask(self, target: Any, images: Any, plan: MaskPlan, **later: Any) -> Tensor:
        """Return what a target gives, (B, M, P); what one that learns has to learn from is added to `learned`.

        Args:
            target: called, or if it has one its method `learn`.
            images: (B, C, *size), or a mapping of streams.
            plan: with the patches that are predicted.
            later: clues that are known after the main prediction only.
        """
        if not hasattr(target, "learn"):
            return target(images, plan, **self.of(target), **later)
        value, loss = target.learn(images, plan, **self.of(target), **later)
        self.learned.append(loss)
        return value

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known |= self._compute(name)
        return self._known[name]

    def _compute(self, name: str) -> dict[str, Any]:
        if name == "tokens":
            return {name: self._encoder.tokens(self._batch)}  # (B, L, D)
        with torch.no_grad():
            if name in self._advisors:
                return {name: self._advisors[name](self._batch)}  # (B, L)
            names = {name, *(other for other in self._needs if other in self._teacher.gives)}
            return self._teacher(self._batch, self.layout, names - self._known.keys())


def needs_of(model: Any) -> set[str]:
    """Return what the masker and the targets of a model ask for."""
    parts = [model.masker, *model.maskers.values(), model.target, *(task.target for task in model.tasks.values())]
    return {name for part in parts for name in getattr(part, "needs", ())} - set(model.advisors)


def check_needs(
    parts: Sequence[Any], encoder: Any, teacher: Any, advisors: Mapping[str, Any], later: bool = False
) -> None:
    """Check that something gives what the parts of a model name in their `needs`.

    Args:
        parts: maskers and targets.
        encoder: gives "tokens", if it has a method of that name.
        teacher: gives what it names in `gives`; None gives nothing.
        advisors: modules from images to one number a patch, by the name of the clue.
        later: the parts are asked after the main prediction, so that they may need its errors.

    Raises:
        UsageError: nothing gives a clue, or the encoder has no tokens to give.
    """
    gives = tuple(getattr(teacher, "gives", ()))
    for part in parts:
        for name in getattr(part, "needs", ()):
            if name == "tokens" and not callable(getattr(encoder, "tokens", None)):
                raise UsageError(
                    f"{type(part).__name__} needs the tokens before positions, but {type(encoder).__name__} has no "
                    "method `tokens`: use VisionTransformer or StreamTransformer."
                )
            if name not in ("images", "tokens", *advisors, *gives, *(LATER if later else ())):
                raise UsageError(
                    f"{type(part).__name__} needs {name}, but the model has advisors for "
                    f"{', '.join(advisors) or 'nothing'} and {_described(teacher)}: add model.advisors.{name}, which "
                    "gives one number a patch, or a model.teacher that gives it."
                )


def _described(teacher: nn.Module | None) -> str:
    if teacher is None:
        return "no teacher"
    return f"a teacher that gives {', '.join(getattr(teacher, 'gives', ())) or 'nothing'}"
