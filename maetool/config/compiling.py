"""Checks, before anything is built, that a run can be compiled as its config says."""

from typing import Any

from mmengine import Config

from maetool.errors import UsageError
from maetool.parallel.compiling import Recording, check_options, recording_of

from .debug import mappings
from .facts import task_in


def check_compile(cfg: Config, device: str, processes: int) -> None:
    """Check `compile` of a complete config beside what else it says.

    Args:
        cfg: the config.
        device: kind of device that trains, such as "cuda".
        processes: that train.

    Raises:
        UsageError: see `maetool.parallel.compiling.check_options`; or CUDA graphs are recorded although gradients are
            accumulated, of which graphs overwrite those of the iteration before, or shapes vary.
    """
    options = cfg.get("compile")
    if not options or cfg.get("optim_wrapper") is None:
        return
    check_options(options, device, bool(cfg.get("fsdp")) and processes > 1)
    graphs = recording_of(options, device)
    if graphs is not None:
        _check_graphs(cfg, graphs)


def _check_graphs(cfg: Config, graphs: Recording) -> None:
    counts = max(each.get("accumulative_counts", 1) for each in mappings(cfg.optim_wrapper))
    if counts > 1:
        raise UsageError(
            f"{graphs.subject} records CUDA graphs, which overwrite the gradients of the iteration before, but this "
            f"run accumulates gradients over {counts} iterations: {graphs.remedy}, or make train_dataloader.batch_size "
            f"{counts} times as large."
        )
    if reason := _varying(cfg):
        raise UsageError(f"{graphs.subject} records CUDA graphs of fixed shapes, but {reason}: {graphs.remedy}.")


def _varying(cfg: Config) -> str | None:
    """Return why shapes vary from batch to batch; None if nothing in the config says that they do."""
    if task_in(cfg.model) == "detection":
        return "images of a detector are as large as the largest of their batch"
    ratios: list[Any] = [part["mask_ratios"] for part in mappings(cfg.model) if part.get("mask_ratios")]
    return (
        f"mask_ratios={ratios[0]} lets another number of patches be visible as training progresses" if ratios else None
    )
