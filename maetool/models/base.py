"""What all models of maetool share: their loss is the key `loss`, and their parts take part in training."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from maetool.errors import UsageError
from maetool.layers.average import copy_tensors

_FOLLOWING = ("after_step", "follow")


class TrainableModel(BaseModel):
    """Base of the models that maetool trains.

    `forward(..., mode="loss")` returns a dict of tensors. What is trained on is exactly its key `loss`; everything else
    is logged, whatever its name, where MMEngine's `BaseModel` adds up all keys that contain the word "loss".

    Attributes:
        task: what the model is trained for: "pretraining", "classification", "segmentation", "detection" or
            "regression". It decides
            how `--data` is laid out and what `maetool predict` does; see docs/plugins.md.
    """

    task: ClassVar[str | None] = None

    def parse_losses(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, a scalar, and what is logged, scalars without gradient.

        Raises:
            UsageError: there is no `loss`, or something is no tensor.
        """
        check_loss(losses, type(self).__name__)
        wrong = [name for name, value in losses.items() if not isinstance(value, Tensor)]
        if wrong:
            raise UsageError(
                f"{type(self).__name__} returned {wrong[0]}={losses[wrong[0]]!r} in its losses, but each must be a "
                "tensor of one number: wrap it in torch.tensor."
            )
        loss = losses["loss"].mean()
        return loss, {"loss": loss, **{k: v.detach().float().mean() for k, v in losses.items() if k != "loss"}}

    def start(self) -> None:
        """Let every part start from the weights that the model has now; see `start_parts`."""
        start_parts(self)

    def after_step(self, progress: float) -> None:
        """Let every part follow an optimiser step; see `parts_after_step`.

        Args:
            progress: share of training that is over, in [0, 1].
        """
        parts_after_step(self, progress)


def check_loss(losses: Mapping[str, Any], owner: str) -> None:
    """Check that a head or a model returned a loss.

    Args:
        losses: what it returned.
        owner: class name of the head or model, for the message.

    Raises:
        UsageError: there is no entry `loss`.
    """
    if "loss" not in losses:
        raise UsageError(
            f"{owner} returned no `loss`, only {', '.join(losses) or 'nothing'}: return what is trained on under "
            "exactly that name; other entries are logged."
        )


def start_parts(model: nn.Module, filled: Collection[str] = ()) -> list[str]:
    """Call `start(model)` of every part that has it, once the weights that training begins with are in.

    The averaged encoder of `MomentumFeatureTarget` becomes a copy of the encoder there. A part whose own weights were
    all loaded is left as it is. A run that is resumed does not start.

    Args:
        model: any module; its parts are the modules inside of it.
        filled: names in the model's state dict that were loaded.

    Returns:
        The names of the tensors of the parts that were started.
    """
    own, started = list(model.state_dict()), []
    for name, part in _parts_with(model, "start"):
        names = [key for key in own if key.startswith(f"{name}.")]
        if not names or not set(names) <= set(filled):
            with torch.no_grad():
                part.start(model)
            started += names
    return started


def parts_after_step(model: Any, progress: float, skipped: Tensor | None = None) -> None:
    """Call `after_step(model, progress)` of every part that has it, or else its `follow(encoder, progress)`.

    The runner calls this after each optimiser step that was made: not while gradients are accumulated, and not after a
    step that was left out.

    Args:
        model: any module; its parts are the modules inside of it.
        progress: share of training that is over, 0 to 1.
        skipped: bool (), on the device, True if the optimiser left the step out: the tensors of the parts then stay as
            they are, without anybody reading it. None: the step was made.
    """
    with torch.no_grad():
        for _, part in _parts_with(model, *_FOLLOWING):
            held = [] if skipped is None else [_own(value) for value in (*part.parameters(), *part.buffers())]
            before = [torch.empty_like(value) for value in held]
            copy_tensors(held, before)
            if callable(getattr(part, "after_step", None)):
                part.after_step(model, progress)
            else:
                part.follow(model.encoder, progress)
            if skipped is not None:
                for value, old in zip(held, before, strict=True):
                    torch.where(skipped, old, value, out=old)
                copy_tensors(before, held)


def _own(value: Tensor) -> Tensor:
    """Return what this process has of a tensor, in the same memory."""
    return value.to_local() if isinstance(value, DTensor) else value


def has_following_parts(model: nn.Module) -> bool:
    """Return whether `parts_after_step` of `model` has anything to do."""
    return any(_parts_with(model, *_FOLLOWING))


def _parts_with(model: nn.Module, *methods: str) -> Iterator[tuple[str, Any]]:
    for name, part in model.named_modules():
        inside = part is not model and not isinstance(part, TrainableModel)
        if inside and any(callable(getattr(part, method, None)) for method in methods):
            yield name, part
