"""The teacher that follows what is trained."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.layers.average import Schedule, check_momentum, copy_weights, momentum_at, move_average
from maetool.registry import TEACHERS
from maetool.structures import Layout, MaskPlan, tensors_of

from .base import Teacher


@TEACHERS.register_module()
class MomentumTeacher(Teacher):
    """The moving average of the encoder that is trained, and with `predicts` of a decoder too.

    It starts as a copy of the weights that training begins with, also those of `--init`, and moves after every
    optimiser step. The average travels in the checkpoint, and how fast it moves is a function of the progress, so that
    a resumed run goes on exactly. Source: data2vec, section 3.2; BYOL's schedule.

    Args:
        encoder: the encoder that is trained; the model hands it over.
        layers: whose tokens are "features", see `Teacher`.
        momentum: share of the average that stays in a step, at the beginning.
        schedule: how it rises: by half a "cosine" (BYOL), "linear" (I-JEPA), or "constant", it does not.
        final_momentum: what it rises to.
        until: share of training, in (0, 1], after which it has arrived there (HPM).
        predicts: name of a task of the model, or "main", whose decoder is averaged too: the teacher then also gives
            "losses" (B, L), the mean over P of what this decoder predicts for every patch of a whole batch (HPM).

    Raises:
        UsageError: a momentum or an end of it outside [0, 1], an unknown schedule or task, or layers that there are
            not.
    """

    def __init__(
        self,
        encoder: nn.Module,
        layers: Sequence[int] | None = None,
        momentum: float = 0.996,
        schedule: Schedule = "cosine",
        predicts: str | None = None,
        final_momentum: float = 1.0,
        until: float = 1.0,
    ) -> None:
        check_momentum(momentum, schedule, final_momentum, until)
        super().__init__(deepcopy(encoder), layers)
        self.momentum, self.schedule, self.predicts = momentum, schedule, predicts
        self.final_momentum, self.until = final_momentum, until
        if predicts is not None:
            self.gives = (*self.gives, "losses")

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        layers = arguments["layers"]
        return {} if layers is None else {"layers": [min(layer, 2) for layer in layers]}

    def attach(self, model: nn.Module) -> None:
        """Copy the decoder that `predicts` names, once the model has it, and what it shares with others.

        Raises:
            UsageError: the model has no such task.
        """
        if self.predicts is not None:
            decoder = self._trained_decoder(model)
            # So that a copy that uses a module of the encoder, or of the model's decoder, uses that of the average.
            trained = model.get_submodule("encoder").modules()
            copies: dict[int, Any] = {id(one): own for one, own in zip(trained, self.encoder.modules(), strict=True)}
            main: Any = getattr(decoder, "main_decoder", None)
            if main is not None:
                self.main_decoder = deepcopy(main, copies).requires_grad_(False).eval()
            self.decoder = deepcopy(decoder, copies).requires_grad_(False).eval()

    def start(self, model: nn.Module) -> None:
        """Copy the weights of the model; called once, when the weights that training begins with are in."""
        for average, trained in self._pairs(model):
            copy_weights(average, trained)

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Follow the model; called after each optimiser step, `progress` of training in [0, 1] being over."""
        stays = momentum_at(progress, self.momentum, self.schedule, self.final_momentum, self.until)
        for average, trained in self._pairs(model):
            move_average(average, trained, stays)

    def losses(self, batch: Any, layout: Layout) -> Tensor:
        """Return the predictions (B, L) of the averaged decoder.

        Args:
            batch: images (B, C, *size), or a mapping of streams, with nothing hidden.
            layout: where its tokens lie.
        """
        like = tensors_of(batch)[0]
        ids = torch.arange(layout.length, device=like.device).expand(len(like), -1)
        plan = MaskPlan(layout, ids, ids, ids, torch.zeros_like(ids, dtype=torch.bool))
        numbers = getattr(self.decoder, "layers", None)
        latent = self.encoder(batch) if not numbers else self.encoder(batch, None, numbers)
        return self.decoder(latent, plan).float().mean(dim=-1)  # (B, L)

    def _pairs(self, model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
        pairs = [(self.encoder, model.get_submodule("encoder"))]
        if hasattr(self, "main_decoder"):
            pairs.append((self.main_decoder, model.get_submodule("decoder")))
        return [*pairs, (self.decoder, self._trained_decoder(model))] if self.predicts is not None else pairs

    def _trained_decoder(self, model: nn.Module) -> nn.Module:
        tasks = {"main": "decoder", **{name: f"tasks.{name}.decoder" for name in getattr(model, "tasks", {})}}
        if self.predicts not in tasks:
            raise UsageError(
                f"MomentumTeacher got predicts={self.predicts!r}, but the model predicts {', '.join(tasks)}: name one "
                "of these."
            )
        return model.get_submodule(tasks[self.predicts])
