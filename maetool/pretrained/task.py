"""Loads the complete model of a checkpoint, for export, as a function from images to its predictions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine import Config
from torch import Tensor, nn

from maetool.config.earlier import check_as_trained
from maetool.config.facts import task_in, task_of
from maetool.config.trust import build_trusted
from maetool.errors import UsageError
from maetool.parallel.loading import load_weights
from maetool.protocols import ModelLike
from maetool.registry import MODELS
from maetool.weights.read import read_checkpoint, weights_of

from .detections import Detections
from .facts import names_of_classes, names_of_targets
from .frozen import section_of


class Tokens(nn.Module):
    """The tokens of an encoder.

    Args:
        model: with an `encoder`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return the tokens (B, T + L, D) of normalised images (B, C, *size)."""
        return self.encoder(images)


class Outputs(nn.Module):
    """What a classifier, a regressor or a segmentor predicts for complete images.

    Args:
        model: with the mode "predict". A segmentor looks at the complete image once, not at windows of it.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        if hasattr(model, "inference"):
            model.inference, model.scales, model.flip = "whole", (1.0,), False
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Return logits or numbers (B, K), or of a segmentor logits (B, K, H, W), float32, of images (B, C, H, W)."""
        return self.model(images, mode="predict").float()


# Of each task, the module from images to predictions, and their names.
TASKS: dict[str, tuple[Callable[[Any], nn.Module], tuple[str, ...]]] = {
    "classification": (Outputs, ("logits",)),
    "regression": (Outputs, ("numbers",)),
    "segmentation": (Outputs, ("logits",)),
    "detection": (Detections, ("boxes", "labels", "scores", "image", "masks")),
}


def graph_module(model: ModelLike, complete: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a model in evaluation mode as a module from images to tensors, and the names of these.

    Args:
        model: an encoder, or a model of one of `TASKS`.
        complete: the model's predictions, and not the tokens of its encoder.

    Raises:
        UsageError: a complete model of another task.
    """
    if not complete:
        return Tokens(model).eval(), ("tokens",)
    task = task_of(model)
    if task not in TASKS:
        raise UsageError(f"{type(model).__name__} has no predictions to export: pass a model of {', '.join(TASKS)}.")
    module, names = TASKS[task]
    has_masks = task != "detection" or model.with_masks
    return module(model).eval(), names if has_masks else names[:-1]


def load_task(path: str | Path, cfg: Config | None = None) -> ModelLike:
    """Load the complete model of a checkpoint in evaluation mode.

    Args:
        path: a checkpoint of a model of one of `TASKS` that maetool trained.
        cfg: its config; by default the checkpoint's.

    Raises:
        UsageError: a checkpoint that cannot be read, describes no such model, or does not fit the config.
    """
    state = read_checkpoint(path)
    weights = weights_of(state, path)
    section = cfg.model if cfg is not None else section_of(state, weights, path)
    task = task_in(section) if "type" in section else None
    if task not in TASKS:
        raise UsageError(
            f"{path} describes {f'a model of {task}' if task else 'an encoder alone'}, which has no predictions: pass "
            f"a checkpoint of {', '.join(TASKS)}, with --config if it does not describe the model, or leave "
            "--complete out."
        )
    model: ModelLike = MODELS.build(section) if cfg is not None else build_trusted(section, MODELS, weights, path)
    check_as_trained(model, state.get("meta"), path)
    load_weights(model, weights, path)
    return model.requires_grad_(False).eval()


def names_in(path: str | Path) -> dict[str, list[str]]:
    """Return the names of the `classes` or of the `targets`, numbers, that the checkpoint at `path` was trained on.

    Args:
        path: of the checkpoint; `classes` is empty if it has no names.

    Raises:
        UsageError: the file cannot be read.
    """
    meta = read_checkpoint(path).get("meta")
    numbers = names_of_targets(meta)
    return {"classes": names_of_classes(meta), **({"targets": numbers} if numbers else {})}
