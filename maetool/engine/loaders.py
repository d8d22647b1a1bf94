"""Builds the dataset and the sampler of a loader from its config."""

from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size

from maetool.data.samplers import KeyedOrder
from maetool.data.workers import shielded
from maetool.errors import UsageError
from maetool.messages import plural
from maetool.registry import DATA_SAMPLERS, DATASETS, check_part


def with_parts(dataloader: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a loader with its dataset built; its workers ignore a job scheduler's signals.

    A sampler without keys, such as MMEngine's `DefaultSampler`, is wrapped in `KeyedOrder`.

    Args:
        dataloader: the config.

    Raises:
        UsageError: fewer samples than one batch of all processes, no sampler, or a batch sampler.
    """
    dataset = DATASETS.build(dataloader["dataset"])
    world, batch = get_world_size(), dataloader["batch_size"]
    if dataloader.get("drop_last") and len(dataset) < batch * world:
        raise UsageError(
            f"The training data holds {plural(len(dataset), 'image')}, fewer than one batch of {batch * world}: "
            f"set train_dataloader.batch_size to at most {max(1, len(dataset) // world)}."
        )
    return {**shielded(dataloader), "dataset": dataset, "sampler": _sampler(dataloader)}


def _sampler(dataloader: Mapping[str, Any]) -> Any:
    if dataloader.get("batch_sampler"):
        raise UsageError(
            "A loader has a batch_sampler, but maetool needs batches of a fixed batch_size: remove the batch_sampler."
        )
    if not dataloader.get("sampler"):
        raise UsageError('A loader has no sampler: add sampler=dict(type="KeyedSampler", shuffle=True).')
    sampler = dataloader["sampler"]
    kind = check_part(sampler, DATA_SAMPLERS) if isinstance(sampler, Mapping) else type(sampler)
    return sampler if hasattr(kind, "set_position") else {"type": KeyedOrder, "sampler": sampler}
