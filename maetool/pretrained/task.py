"""Loads the complete classifier or segmentor of a checkpoint, for export."""

from pathlib import Path
from typing import Any

from mmengine import Config
from torch import Tensor, nn

from maetool.config.earlier import check_as_trained
from maetool.config.facts import task_in
from maetool.config.trust import build_trusted
from maetool.errors import UsageError
from maetool.parallel.loading import load_weights
from maetool.protocols import ModelLike
from maetool.registry import MODELS
from maetool.weights.read import read_checkpoint, weights_of

from .facts import names_of_classes
from .frozen import section_of

TASKS = ("classification", "segmentation")


class Logits(nn.Module):
    """What a classifier or a segmentor says about whole images.

    Args:
        model: with the mode "predict". A segmentor looks at the whole image once, not at windows of it.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        if hasattr(model, "inference"):
            model.inference, model.scales, model.flip = "whole", (1.0,), False
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K) or, of a segmentor, (B, K, H, W), float32, of normalised images (B, C, H, W)."""
        return self.model(images, mode="predict")


def load_task(path: str | Path, cfg: Config | None = None) -> ModelLike:
    """Load the complete model of a checkpoint in evaluation mode.

    Args:
        path: a checkpoint of a classifier or a segmentor that maetool trained.
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
            f"{path} describes {f'a model of {task}' if task else 'an encoder alone'}, which has no logits: pass a "
            "checkpoint of a classifier or a segmentor, with --config if it does not describe the model, or leave "
            "--logits out."
        )
    model: ModelLike = MODELS.build(section) if cfg is not None else build_trusted(section, MODELS, weights, path)
    check_as_trained(model, state.get("meta"), path)
    load_weights(model, weights, path)
    return model.requires_grad_(False).eval()


def classes_of(path: str | Path) -> list[str]:
    """Return the names of the classes that the checkpoint at `path` was trained on; empty if it has none."""
    return names_of_classes(read_checkpoint(path).get("meta"))
