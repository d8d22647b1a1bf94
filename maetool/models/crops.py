"""Views of several crops, and what images are compared as a whole with across views and crops."""

from typing import Any

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.random import mix
from maetool.structures import MaskPlan, plan_of_all

_CROP = 1 << 41  # the keys of crops are others than those of views


def crops_in(images: Any, encoder: Any) -> int:
    """Return N, how many crops of each sample there are: N of a tensor with one axis more than the encoder takes.

    Args:
        images: (B, C, *size) or (B, C, N, *size), or a mapping of streams.
        encoder: whose patches have as many axes as an image.
    """
    axes = len(getattr(encoder, "patch_size", ()))
    several = isinstance(images, Tensor) and axes and images.ndim == axes + 3
    return images.shape[2] if several else 1


def joined_crops(images: Any, encoder: Any) -> Any:
    """Return the images that an encoder takes: crops (B, C, N, *size) as (N * B, C, *size), others as they are."""
    axes = len(getattr(encoder, "patch_size", ()))
    several = isinstance(images, Tensor) and axes and images.ndim == axes + 3
    return images.movedim(2, 0).flatten(0, 1) if several else images


def of_crops(entry: str, value: Any, crops: int) -> Any:
    """Return an entry of the samples for all crops, (N * B, ...): keys differ, masks and weights are repeated.

    Args:
        entry: "key", "mask" or "weight".
        value: of each sample, (B, ...), or None.
        crops: N.
    """
    if not isinstance(value, Tensor):
        return value
    if entry != "key":
        return value.repeat(crops, *[1] * (value.ndim - 1))
    return torch.cat([value if crop == 0 else mix(value, _CROP + crop) for crop in range(crops)])


def compare_images(views: Any, name: str, task: Any, pred: Tensor) -> tuple[Tensor, Tensor, MaskPlan]:
    """Return what a head compares where a task is for images: predictions, targets, both (R, 1, P), and their plan.

    Every crop of the task's views is compared with every crop of the target's view, but none with itself. Without a
    `target_view` an image is compared with its own target.

    Args:
        views: of the batch, see `maetool.models.seen.Views`.
        name: of the task, or "main".
        task: the model or one of its tasks.
        pred: (N * B, 1, P), what its decoder made of its own view.

    Raises:
        UsageError: a view of one crop, which has no other crop to be compared with.
    """
    own = views.view_of(task)
    other = own if task.target_view is None else task.target_view
    target = views.clues(other).ask(task.target, views.images(other), views.plan(other).predicting("image"))
    if task.target_view is None:
        return pred, target, _plan_of_images(pred)
    preds = {own: pred, **{view: views.prediction(name, task, view) for view in task.more_views}}
    pairs = [pair for view, each in preds.items() for pair in _pairs(views, view, each, other, target)]
    left, right = (torch.cat(side) if len(side) > 1 else side[0] for side in zip(*pairs, strict=True))
    return left, right, _plan_of_images(left)


def _plan_of_images(pred: Tensor) -> MaskPlan:
    return plan_of_all((1,), len(pred), pred.device)


def _pairs(views: Any, view: str, pred: Tensor, other: str, target: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the predictions (B, 1, P) of each crop of a view beside the targets of each crop that it learns from."""
    numbers = views.crops(view), views.crops(other)
    if view == other and numbers[0] == 1:
        raise UsageError(
            f"The crops of the view {view!r} are compared with each other, but it has one: let the dataset give "
            "several, (channels, crops, *size), or name another target_view."
        )
    if numbers[1] == 1:
        return [(pred, target.repeat(numbers[0], 1, 1))]
    preds, targets = (values.chunk(number) for values, number in zip((pred, target), numbers, strict=True))
    return [(preds[i], targets[k]) for k in range(numbers[1]) for i in range(numbers[0]) if view != other or i != k]
