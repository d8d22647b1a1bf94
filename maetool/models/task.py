"""One thing that is predicted from the tokens: what a masked image model has one of, or several."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.registry import HEADS, TARGETS
from maetool.structures import MaskPlan, tokens_of_stream

from .base import check_loss
from .build import build_decoder, build_with, facts_of_task, widths_of
from .seen import Seen, decode

At = Literal["planned", "visible", "all", "image"]
Reads = Literal["encoder", "main"]
_OPTIONS = ("at", "weight", "stream", "view", "context", "reads", "more_views", "target_view")
_TAKEN = ("main", "loss", "constant_predictor", "masked_fraction", "masker", "target")


class PredictionTask(nn.Module):
    """A decoder, a target and a head, and the patches that they are for.

    Args:
        decoder, head: configs, or modules that are built already.
        target: config or module; None takes what the model's own target gives.
        own: the model's own target.
        facts: what the encoder and the preprocessor say, for what the parts leave out; see `MaskedImageModel`.
        at: the patches: "planned", those of the plan; "visible"; or "all"; or the "image" as a whole. See
            `MaskPlan.predicting`.
        weight: of the loss in the sum of all.
        stream: of an encoder of several streams, the one that is predicted; None is all.
        view, context: as of `MaskedImageModel`; None takes the model's.
        more_views, target_view: for at="image": further views that its decoder predicts from, and the view that its
            target is of, for all crops; of a view that it predicts from, each crop learns the others. None, each crop
            has its own target.
        reads: what its decoder reads: the tokens of the "encoder", or what the model's "main" decoder predicted for the
            same patches (CAE).

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
        at: At = "planned",
        weight: float = 1.0,
        stream: str | None = None,
        view: str | None = None,
        context: str | None = None,
        reads: Reads = "encoder",
        more_views: Sequence[str] = (),
        target_view: str | None = None,
    ) -> None:
        super().__init__()
        if reads not in ("encoder", "main"):
            raise UsageError(f'A task has reads={reads!r}, but it must be "encoder" or "main".')
        if at not in ("planned", "visible", "all", "image") or not weight > 0:
            raise UsageError(
                f'A task has at={at!r} and weight={weight!r}, but `at` must be "planned", "visible", "all" or "image", '
                "and the weight positive."
            )
        if target is None and at != "planned":
            raise UsageError(f'A task at="{at}" has no target, but the model\'s own is for planned patches: add one.')
        facts = facts_of_task(facts, stream, view)
        self.reads = reads
        self.target = None if target is None else build_with(TARGETS, target, facts)
        read = facts if reads == "encoder" else {**facts, "encoder_dim": own.out_dim, "num_prefix_tokens": 0}
        self.decoder = build_decoder(decoder, read, self.target or own)
        self.head = build_with(HEADS, head, {**facts, **widths_of(self.target or own)})
        self.at, self.weight, self.stream, self.view, self.context = at, weight, stream, view, context
        self.more_views, self.target_view = tuple(more_views), target_view
        self._encoder = (facts["encoder"],)  # in a tuple, where it is not registered a second time
        check_pair(self.target or own, self.head)
        check_place(self.decoder, self.target or own, at)
        check_views(self)

    def forward(
        self, latent: Any, seen: Seen, own: Tensor, memory: Tensor | None = None, errors: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the losses of the head.

        Args:
            latent: what the decoder reads, tokens (B, T + V, D) or those of several layers, or the main decoder's
                predictions (B, M, P).
            seen: images, plan and clues of the view.
            own: what the model's own target gave, which a task without a target learns too.
            memory: (B, N, D), for a decoder that takes one.
            errors: (B, M), of the model's own prediction, for a target that needs them.
        """
        images, plan = seen.images, seen.plan.predicting(self.at)
        if self.stream is not None:
            images = self._encoder[0].split(images)[self.stream]
            pred = self._decode_stream(latent, plan, memory)
            plan = plan.only(self.stream)
        else:
            pred = decode(self.decoder, latent, plan, memory)  # (B, M, P)
        if self.target is not None:
            later = {"errors": errors} if "errors" in getattr(self.target, "needs", ()) else {}
            own = seen.clues.ask(self.target, images, plan, **later)
        return self.losses(pred, own, plan)

    def losses(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return the losses of the head.

        Args:
            pred, target: (B, M, P), see its `forward`.
            plan: with the patches that these are of.
        """
        losses = self.head(pred, target, plan)
        check_loss(losses, type(self.head).__name__)
        return losses

    def _decode_stream(self, latent: Any, plan: MaskPlan, memory: Tensor | None) -> Tensor:
        """Return the predictions (B, M, P) of the stream by its decoder.

        A decoder reads the tokens and the plan of its stream; one that says `reads_streams` those of all.
        """
        if getattr(self.decoder, "reads_streams", False):
            return decode(self.decoder, latent, plan, memory)
        return decode(self.decoder, self._of_stream(latent, plan), plan.only(str(self.stream)), memory)

    def _of_stream(self, latent: Any, plan: MaskPlan) -> Any:
        levels = [latent] if isinstance(latent, Tensor) else latent
        parts = [
            tokens_of_stream(plan, str(self.stream), level, self._encoder[0].num_prefix_tokens) for level in levels
        ]
        return parts[0] if isinstance(latent, Tensor) else parts


def build_tasks(tasks: Mapping[str, Any], facts: Mapping[str, Any], own: nn.Module) -> nn.ModuleDict:
    """Build the tasks of a model, by name.

    Args:
        tasks: name to the arguments of a `PredictionTask`.
        facts: of encoder and images, for the parts of the tasks.
        own: the model's own target, for tasks without one.

    Raises:
        UsageError: a name that means something else in the logs, an unknown argument, or see `PredictionTask`.
    """
    known = {"decoder", "target", "head", *_OPTIONS}
    for name, task in tasks.items():
        if name in _TAKEN:
            raise UsageError(f"A task is called {name!r}, but the logs use {', '.join(_TAKEN)} already: rename it.")
        if not {"decoder", "head"} <= set(task) <= known:
            raise UsageError(
                f"The task {name} has {', '.join(task)}, but must have decoder and head, and may have target, at, "
                f"{', '.join(_OPTIONS[1:-1])} and {_OPTIONS[-1]}."
            )
    return nn.ModuleDict(
        {name: PredictionTask(**{"target": None, **task}, facts=facts, own=own) for name, task in tasks.items()}
    )


def check_place(decoder: nn.Module, target: nn.Module, at: str) -> None:
    """Check that a decoder and a target can be used for the patches they are for.

    Args:
        decoder, target: of one task.
        at: the patches that the task is for, see `PredictionTask`.

    Raises:
        UsageError: one of them cannot.
    """
    for part in (decoder, target):
        of_images = at == "image" and getattr(part, "of_images", False)
        only = getattr(part, "predicts", None) or ("planned" if at == "image" else at)
        if only != at and not of_images:
            raise UsageError(_misplaced(part, only, at))
    reads, gives = (getattr(part, "predicted_prefix", 0) for part in (decoder, target))
    if reads != gives:
        raise UsageError(
            f"{type(decoder).__name__} predicts {reads} tokens of the prefix, but {type(target).__name__} gives "
            f"{gives}: set predict_prefix to the same value in both, and use a teacher with as many as the encoder."
        )


def _misplaced(part: nn.Module, only: str, at: str) -> str:
    if at == "image":
        return f'{type(part).__name__} is for patches, but is used at="image": use ProjectionDecoder, for example.'
    what = "the image as a whole" if only == "image" else f"{only} patches"
    return (
        f'{type(part).__name__} is for {what} only, but is used for those that are "{at}": use it in one of '
        f'model.tasks with at="{only}".'
    )


def check_views(task: Any) -> None:
    """Check that a task, or the model, names further views and the target's only where images are compared.

    Args:
        task: with `at`, `more_views` and `target_view`.

    Raises:
        UsageError: it does so elsewhere, or has further views without the view of the target.
    """
    if task.at != "image" and (task.more_views or task.target_view is not None):
        raise UsageError(
            f"more_views is {list(task.more_views)} and target_view {task.target_view!r}, but patches of different "
            'crops do not lie at the same places: use at="image", or leave them out.'
        )
    if task.more_views and task.target_view is None:
        raise UsageError(
            f"more_views is {list(task.more_views)}, but there is no target_view that they learn from: name one."
        )


def check_chain(model: Any) -> None:
    """Check that tasks whose decoders read predictions of the main decoder are for the same patches.

    Raises:
        UsageError: they are for others, a decoder reads something else than what it gets, or the model's own loss has a
            weight that is not positive, or has one without any tasks.
    """
    if not model.weight > 0 or (model.weight != 1 and not model.tasks):
        raise UsageError(f"model.weight is {model.weight!r}, but must be positive, and is for models with tasks only.")
    for name, task in model.tasks.items():
        chained, reads = task.reads == "main", "predicted" in getattr(task.decoder, "reads", ("visible",))
        if chained != reads:
            takes, gets = ("predictions", "the encoder's tokens")[:: 1 if reads else -1]
            raise UsageError(
                f"{type(task.decoder).__name__} reads {takes}, but in the task {name} it gets {gets}: set reads="
                f'"{"main" if reads else "encoder"}" there, or use another decoder.'
            )
        same = (task.at, task.view or model.view, task.stream) == (model.at, model.view, None)
        if chained and (not same or getattr(model.decoder, "predicted_prefix", 0)):
            raise UsageError(
                f"The task {name} reads what the main decoder predicts, but is for other tokens: set its at="
                f'"{model.at}" as the model\'s, no stream and no view of its own, and predict no prefix.'
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
