"""The views of a batch in one step: what is hidden in each, and what the encoder makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.heads import weighted_sum
from maetool.ops.random import KeyedRandom, mix
from maetool.structures import MaskPlan, tensors_of

from .clues import Clues
from .crops import compare_images, crops_in, joined_crops, of_crops
from .pairing import layout_of

_CORRUPTION = 1 << 40  # the keys of corruptions are others than those of masks and views


@dataclass(frozen=True)
class Seen:
    """One view of a batch after the encoder.

    Attributes:
        images: (B, C, *size), or a mapping from streams to tensors, as they are for the targets.
        plan: what was hidden, and what is predicted.
        clues: what masker and targets ask for.
        latents: name of a task, or "main", to what its decoder reads: tokens (B, T + V, D), or those of some layers.
    """

    images: Any
    plan: MaskPlan
    clues: Clues
    latents: Mapping[str, Any]


class Views:
    """The views of a batch; each is masked and encoded at most once, and only when somebody asks.

    Args:
        model: the masked image model.
        images: a tensor or a mapping from streams to tensors, or where the model or a task names a view, a mapping from
            views to these.
        samples: `key`, `mask` and `weight` of the batch. A mask or weight is that of the model's own view, or a mapping
            from views. Other views have masks of their own keys.
        plan: of the model's own view; None asks the masker.
    """

    def __init__(self, model: Any, images: Any, samples: Mapping[str, Any], plan: MaskPlan | None) -> None:
        self._model, self._images, self._samples, self._plan = model, images, samples, plan
        self._seen: dict[str | None, Seen] = {}
        self._clues: dict[str | None, Clues] = {}
        self._memory: dict[str, Tensor] = {}

    def images(self, view: str | None) -> Any:
        """Return the images of a view: of several crops all in one batch (N * B, C, *size), crop after crop.

        Raises:
            UsageError: the batch has no such view.
        """
        return self._images if view is None else joined_crops(self._of(view), self._model.encoder)

    def crops(self, view: str | None) -> int:
        """Return N, how many crops of each sample a view has."""
        return 1 if view is None else crops_in(self._of(view), self._model.encoder)

    def _of(self, view: str) -> Any:
        if not isinstance(self._images, Mapping) or view not in self._images:
            has = ", ".join(self._images) if isinstance(self._images, Mapping) else "one tensor"
            raise UsageError(
                f"The model uses the view {view!r}, but the batch has {has}: let the dataset return a mapping of "
                "views as `inputs`, or name another view."
            )
        return self._images[view]

    def clues(self, view: str | None) -> Clues:
        """Return what maskers and targets may ask about a view."""
        if view not in self._clues:
            images = self.images(view)
            self._clues[view] = self._model.clues_of(images, layout_of(self._model.encoder, images))
        return self._clues[view]

    def seen(self, view: str | None) -> Seen:
        """Return a view after the encoder."""
        if view not in self._seen:
            plan, clues = self.plan(view), self.clues(view)
            self._seen[view] = self._model.see(self.images(view), self._samples_of(view), plan, view, clues)
        return self._seen[view]

    def plan(self, view: str | None) -> MaskPlan:
        """Return what is hidden in a view, without encoding it."""
        if view in self._seen:
            return self._seen[view].plan
        if view == self._model.view and self._plan is not None:
            return self._plan
        return self._model.hide(self.images(view), self._samples_of(view), self.clues(view), view)

    def view_of(self, task: Any) -> str | None:
        """Return the view that a task, or the model itself, predicts from."""
        return self._model.view if task.view is None else task.view

    def prediction(self, name: str, task: Any, view: str | None) -> Tensor:
        """Return what the decoder of a task makes of a view, (B, M, P).

        Args:
            name: of the task, or "main".
            task: the task, or the model itself.
            view: name of the view.
        """
        seen = self.seen(view)
        memory = self.memory(self._model.context if task.context is None else task.context)
        return decode(task.decoder, seen.latents[name], seen.plan.predicting(task.at), memory)

    def compared(self, pred: Tensor, plan: MaskPlan) -> tuple[Tensor, Tensor, MaskPlan]:
        """Return what the model's own head compares: predictions, their targets, both (B, M, P), and their plan.

        Args:
            pred: (B, M, P), what the model's own decoder made of its own view.
            plan: with the patches that these are of.
        """
        model = self._model
        if model.at == "image":
            return compare_images(self, "main", model, pred)
        return pred, self.clues(model.view).ask(model.target, self.images(model.view), plan), plan

    def memory(self, context: str | None) -> Tensor | None:
        """Return the tokens (B, T + L, D) of the view `context`, of which nothing is hidden; None for None."""
        if context is None:
            return None
        if context not in self._memory:
            self._memory[context] = self._model.encoder(self.images(context))
        return self._memory[context]

    def with_others(self, losses: dict[str, Tensor], pred: Tensor, target: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Return the losses of the model's own head, and of the tasks and of a masker that learns, as those of one.

        Args:
            losses: of the head.
            pred, target: (B, M, P), what the model's own decoder and target gave.
            plan: with the patches that these are of.
        """
        model = self._model
        learns = hasattr(model.masker, "loss")
        asked = learns or any("errors" in getattr(task.target, "needs", ()) for task in model.tasks.values())
        errors = self._errors(pred, target, plan) if asked else None
        parts = {name: self._task(name, pred, target, errors) for name in model.tasks}
        if parts:
            weights = {"main": model.weight, **{name: task.weight for name, task in model.tasks.items()}}
            losses = weighted_sum({"main": losses, **parts}, weights)
        if learns:
            own = model.masker.loss(plan, errors)
            losses = {**losses, "loss": losses["loss"] + model.masker_weight * own, "masker": own.detach()}
        return losses

    def with_learned(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return losses with the sum of those of targets that learn added to `loss`; without any, as they are.

        It is added to `constant_predictor` too, which is compared with `loss`.
        """
        learned = [loss for clues in self._clues.values() for loss in clues.learned]
        if not learned:
            return losses
        own = torch.stack(learned).sum()
        sums = {"loss": losses["loss"] + own}
        if "constant_predictor" in losses:
            sums["constant_predictor"] = losses["constant_predictor"] + own.detach()
        return {**losses, **sums, "target": own.detach()}

    def _task(self, name: str, pred: Tensor, target: Tensor, errors: Tensor | None) -> dict[str, Tensor]:
        task = self._model.tasks[name]
        seen = self.seen(self.view_of(task))
        if task.at == "image":
            return task.losses(*compare_images(self, name, task, self.prediction(name, task, self.view_of(task))))
        memory = self.memory(self._model.context if task.context is None else task.context)
        latent = pred if task.reads == "main" else seen.latents[name]
        return task(latent, seen, target, memory, errors)

    def _errors(self, pred: Tensor, target: Tensor, plan: MaskPlan) -> Tensor:
        head = self._model.head
        if not hasattr(head, "errors"):
            raise UsageError(
                f"A masker or a target learns from the error of each patch, but {type(head).__name__} has no method "
                "`errors`: add errors(pred, target, plan), which returns (B, M)."
            )
        with torch.no_grad():
            return head.errors(pred, target, plan)

    def _samples_of(self, view: str | None) -> Mapping[str, Any]:
        if view == self._model.view:
            number, default = 0, self._samples
        else:
            number, default = 1 + list(self._images).index(view), {}
        entries = {}
        for name in ("mask", "weight"):
            value: Any = self._samples.get(name)
            of_views = view is not None and isinstance(value, Mapping) and set(value) <= set(self._images)
            entries[name] = value.get(view) if of_views else default.get(name)
        keys = self._samples.get("key")
        entries["key"] = keys if keys is None or not number else mix(keys, number)
        crops = self.crops(view)
        return entries if crops == 1 else {entry: of_crops(entry, value, crops) for entry, value in entries.items()}


def latents_of(encoder: Any, images: Any, plan: MaskPlan, decoders: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Return what each decoder reads: the last tokens (B, T + V, D), or a list of those of its `layers`.

    Args:
        encoder: run once for all decoders.
        images: (B, C, *size), normalised, or a mapping of streams.
        plan: what is visible.
        decoders: by name.
    """
    asked = {name: getattr(decoder, "layers", None) for name, decoder in decoders.items()}
    if not any(asked.values()):
        return dict.fromkeys(asked, encoder(images, plan))
    last = [encoder.num_layers]
    numbers = sorted({number for layers in asked.values() for number in layers or last})
    level = dict(zip(numbers, encoder(images, plan, numbers), strict=True))
    return {
        name: [level[number] for number in layers] if layers else encoder.norm(level[last[0]])
        for name, layers in asked.items()
    }


def decode(decoder: Any, latent: Any, plan: MaskPlan, memory: Tensor | None) -> Tensor:
    """Return the predictions (B, M, P) of a decoder.

    Args:
        decoder: gets the memory if its `takes_memory` is True.
        latent: what it reads, see `latents_of`.
        plan: of the batch.
        memory: tokens (B, T + L, D) of the context.
    """
    return decoder(latent, plan, memory=memory) if getattr(decoder, "takes_memory", False) else decoder(latent, plan)


def corrupted(corruption: Any, images: Any, plan: MaskPlan, samples: Mapping[str, Any]) -> Any:
    """Return the images that the encoder sees, a function of images, plan and the keys of the samples.

    Args:
        corruption: what replaces the pixels.
        images: (B, C, *size), or a mapping of streams.
        plan: of the batch.
        samples: may hold `key`, int64 (B,); without it the draw is from torch's default generator.
    """
    like, keys = tensors_of(images)[0], samples.get("key")
    keys = torch.randint(2**62, (len(like),)) if keys is None else keys
    return corruption(images, plan, KeyedRandom(mix(keys.to(like.device), _CORRUPTION)))


def masked_fraction(plan: MaskPlan) -> Tensor:
    """Return the share of the patches that is removed, a scalar; it is not read back from the device.

    Args:
        plan: of the batch.
    """
    if plan.blank is None and plan.keep_valid is None:
        return torch.tensor(plan.mask_ratio)
    return plan.mask.float().mean()
