"""The teacher that follows what is trained."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.layers.average import Schedule, check_momentum, copy_weights, momentum_at, move_average
from maetool.registry import TEACHERS
from maetool.structures import Layout, MaskPlan, plan_of_all, tensors_of

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
        self.decoders = nn.ModuleDict()  # by name of their task, those that targets ask for
        self._asked: list[str] = []
        if predicts is not None:
            self.gives = (*self.gives, "losses")

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        layers = arguments["layers"]
        return {} if layers is None else {"layers": [min(layer, 2) for layer in layers]}

    def average_decoder(self, name: str) -> None:
        """Average a decoder too, so that `predictions` has it; to be called before `attach`.

        Args:
            name: of its task, or "main".
        """
        self._asked = sorted({*self._asked, name})

    def predictions(self, name: str, latent: Any, plan: MaskPlan) -> Tensor:
        """Return what an averaged decoder predicts; see `average_decoder`.

        Args:
            name: of its task, or "main".
            latent: what it reads, tokens (B, T + V, D) of the averaged encoder.
            plan: of the batch.
        """
        return self.decoders[name](latent, plan)

    def train(self, mode: bool = True) -> "MomentumTeacher":
        """Return self in evaluation mode; batch norms of averaged decoders normalise by the batch in training (MSN)."""
        super().train(False)
        for module in self.decoders.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(mode)
        return self

    def attach(self, model: nn.Module) -> None:
        """Copy the decoders that `predicts` and targets name, once the model has them, and what they share.

        Raises:
            UsageError: the model has no such task.
        """
        names = [*self._asked, *([] if self.predicts is None else [self.predicts])]
        if any(getattr(self._trained_decoder(model, name), "main_decoder", None) is not None for name in names):
            self.average_decoder("main")
        # So that a copy that uses a module of the encoder, or of the model's decoder, uses that of the average.
        copies = _copies(model.get_submodule("encoder"), self.encoder)
        self.decoders = deepcopy(self._trained_decoders(model), dict(copies)).requires_grad_(False).eval()
        if self.predicts is not None:
            if "main" in self.decoders and self.predicts != "main":
                copies |= _copies(model.get_submodule("decoder"), self.decoders["main"])
            self.decoder = deepcopy(self._trained_decoder(model, self.predicts), copies).requires_grad_(False).eval()

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
        plan = plan_of_all(layout, len(like), like.device)
        numbers = getattr(self.decoder, "layers", None)
        latent = self.encoder(batch) if not numbers else self.encoder(batch, None, numbers)
        return self.decoder(latent, plan).float().mean(dim=-1)  # (B, L)

    def _pairs(self, model: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
        pairs: list[tuple[nn.Module, nn.Module]] = [(self.encoder, model.get_submodule("encoder"))]
        if self._asked:
            pairs.append((self.decoders, self._trained_decoders(model)))
        if self.predicts is not None:
            pairs.append((self.decoder, self._trained_decoder(model, self.predicts)))
        return pairs

    def _trained_decoders(self, model: nn.Module) -> nn.ModuleDict:
        return nn.ModuleDict({name: self._trained_decoder(model, name) for name in self._asked})

    def _trained_decoder(self, model: nn.Module, name: str) -> nn.Module:
        tasks = {"main": "decoder", **{name: f"tasks.{name}.decoder" for name in getattr(model, "tasks", {})}}
        if name not in tasks:
            raise UsageError(
                f"MomentumTeacher is to average the decoder of {name!r}, but the model predicts {', '.join(tasks)}: "
                "name one of these."
            )
        return model.get_submodule(tasks[name])


def _copies(trained: nn.Module, average: nn.Module) -> dict[int, Any]:
    """Return the modules of an average by the ids of those that they are copies of, as `deepcopy` takes them."""
    return {id(one): own for one, own in zip(trained.modules(), average.modules(), strict=True)}
