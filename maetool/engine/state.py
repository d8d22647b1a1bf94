"""The training state in a checkpoint: collecting it, and restoring it on any number of ranks."""

import time
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import torch
from mmengine.runner import IterBasedTrainLoop

from maetool.engine.optim.full_state import full_state
from maetool.engine.optim.param_groups import in_present_groups
from maetool.engine.optim.schedules import state_of
from maetool.errors import UsageError
from maetool.metadata.provenance import versions as versions
from maetool.metadata.stored_config import read_config
from maetool.ops.random import sample_keys
from maetool.protocols import RunnerLike

from .histories import history_from_plain, plain_histories
from .resume_changes import changes_since, data_fingerprint, describe_changes, label_fingerprint, refuse_changes
from .resume_optimizer import restore_optimizer

_OF_THIS_RUN = ("cfg", "experiment_name", "mmengine_version")
_NEEDED = ("meta", "state_dict", "optimizer", "message_hub")
_OWED = "owes_validation"  # of a loop and of a checkpoint: the validation after its last iteration is still pending
_COUNTS = ("seed", "num_images", "epoch", "iter", "epoch_length", "images_per_iter", "accumulation")


def training_state(runner: RunnerLike, epoch: int, iteration: int) -> dict[str, Any]:
    """Return the complete training state; all ranks must call this together.

    Args:
        runner: the runner.
        epoch: completed epochs.
        iteration: completed iterations.
    """
    runner.call_hook("read_pending")
    state = {
        "meta": {**_facts(runner), "epoch": epoch, "iter": iteration},
        "state_dict": runner.full_state_dict(),
        "message_hub": plain_histories(runner.message_hub.state_dict()),
        "optimizer": full_state(runner.optim_wrapper),
        "param_schedulers": [state_of(scheduler) for scheduler in schedulers_of(runner)],
    }
    runner.call_hook("before_save_checkpoint", checkpoint=state)
    return state


def schedulers_of(runner: RunnerLike) -> list[Any]:
    """Return all schedules of `runner`; with several optimisers, those of one after the other."""
    schedulers = runner.param_schedulers or ()
    if isinstance(schedulers, Mapping):
        return [scheduler for group in schedulers.values() for scheduler in group]
    return list(schedulers)


def _facts(runner: RunnerLike) -> dict[str, Any]:
    return {
        "seed": runner.seed,
        "num_images": len(runner.train_dataloader.dataset),
        "epoch_length": len(runner.train_dataloader),
        "images_per_iter": images_per_iter(runner),
        "accumulation": accumulation_of(runner),
        "experiment_name": runner.experiment_name,
        **runner.config_facts,
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "versions": versions(),
        "dataset_meta": getattr(runner.train_dataloader.dataset, "metainfo", {}),
        "data_names": data_fingerprint(runner.train_dataloader.dataset),
        "data_labels": label_fingerprint(runner.train_dataloader.dataset),
        **({_OWED: True} if getattr(runner.train_loop, _OWED, False) else {}),
    }


def step_seed(seed: int, iteration: int, process: int) -> int:
    """Return the seed of torch's generator for one step, which drop path and dropout use.

    Args:
        seed: of the run.
        iteration: counted from the start of training.
        process: rank.
    """
    return int(sample_keys(seed, iteration, torch.tensor(process)))


def images_per_iter(runner: RunnerLike) -> int:
    """Return the number of images per iteration of `runner`, summed over all processes."""
    return runner.train_dataloader.batch_size * runner.world_size


def accumulation_of(runner: RunnerLike) -> int:
    """Return the number of iterations per optimiser step of `runner`."""
    return runner.cfg.optim_wrapper.get("accumulative_counts", 1)


def check_resumable(runner: RunnerLike, state: dict[str, Any], source: str) -> None:
    """Check that a run can be resumed from a checkpoint.

    Args:
        runner: that is to go on.
        state: content of the checkpoint.
        source: its path, for messages.

    Raises:
        UsageError: it holds only weights or metadata of wrong types, was trained with another seed, other data or
            another optimiser, or for more epochs than the config has.
    """
    if any(key not in state for key in _NEEDED):
        raise UsageError(
            f"{source} holds only weights, so training cannot be resumed from it: use a checkpoint that "
            "training wrote, or start from its weights with --cfg-options load_from=PATH."
        )
    _check_kinds(state, source)
    meta = state["meta"]
    for name, old, new in _fixed_facts(runner, meta):
        if old != new:
            raise UsageError(
                f"{source} was trained with {name} {old}, but it is {new} now: resume with the "
                "original value, or start a new run from its weights with --cfg-options load_from=PATH."
            )
    _check_length(runner, meta, source)
    inside_epoch = meta["iter"] != meta["epoch"] * meta["epoch_length"]
    refuse_changes(changes_since(meta, runner.config_facts), source, inside_epoch)


def _check_kinds(state: Mapping[str, Any], source: str) -> None:
    wrong = [f"meta.{name}" for name in _COUNTS if type(state["meta"].get(name)) is not int]
    wrong += [name for name in ("optimizer", "message_hub") if not isinstance(state[name], Mapping)]
    if wrong:
        raise UsageError(
            f"{source} cannot be resumed: {wrong[0]} is missing or has a wrong type. Use an "
            "earlier checkpoint, or start a new run from its weights with --cfg-options load_from=PATH."
        )


def _check_length(runner: RunnerLike, meta: dict[str, Any], source: str) -> None:
    unit, name, done, last = "epochs", "max_epochs", meta["epoch"], runner.max_epochs
    if isinstance(runner.train_loop, IterBasedTrainLoop):  # it counts one epoch, however often it passes over the data
        unit, name, done, last = "iterations", "max_iters", position(runner, meta)[1], runner.max_iters
    if done > last:
        raise UsageError(
            f"{source} was trained for {done} {unit}, but train_cfg.{name} is {last}: set it to at least as many."
        )


def _fixed_facts(runner: RunnerLike, meta: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, old and new value of what a resume cannot change; values missing in old checkpoints are left out."""
    dataset = runner.train_dataloader.dataset
    yield "seed", f"{meta['seed']:,}", f"{runner.seed:,}"
    yield "number of images", f"{meta['num_images']:,}", f"{len(dataset):,}"
    for kind, name in (("classes", "classes"), ("targets", "numbers to predict")):
        old, new = (list((facts or {}).get(kind) or ()) for facts in (meta.get("dataset_meta"), dataset.metainfo))
        if old and new:
            yield name, _first_difference(old, new), _first_difference(new, old)
    if meta.get("data_names"):
        yield "the images", meta["data_names"], data_fingerprint(dataset)
    if meta.get("data_labels"):
        yield "the labels", meta["data_labels"], label_fingerprint(dataset)


def _first_difference(names: list[str], others: list[str]) -> str:
    """Return the number of names, and the first that differs from the others; equal lists give equal texts."""
    differs = [name for name, other in zip_longest(names, others) if name != other and name is not None]
    return f"{len(names)} ({differs[0]}, ...)" if differs else str(len(names))


def restore(runner: RunnerLike, state: dict[str, Any]) -> list[str]:
    """Restore optimiser, schedules, histories and position of a checkpoint in a runner whose weights are loaded.

    Learning rate, weight decay and all other options are those of the runner's config, even if the checkpoint was
    trained with different ones.

    Args:
        runner: that is to go on.
        state: content of a checkpoint that `check_resumable` accepted.

    Returns:
        A line for each value of the config that differs from the checkpoint's.
    """
    epoch, iteration = position(runner, state["meta"])
    runner.train_loop._epoch, runner.train_loop._iter = epoch, iteration
    if hasattr(runner.train_loop, _OWED):
        runner.train_loop.owes_validation = state["meta"].get(_OWED) is True
    _restore_histories(runner, state["message_hub"])
    moved = iteration != state["meta"]["iter"]
    saved = in_present_groups(_aligned(runner, state, iteration), runner.bare_model)
    changes = changes_since(state["meta"], runner.config_facts)
    as_before = bool(read_config(state["meta"])) and not any(change.is_at("param_scheduler") for change in changes)
    restore_optimizer(runner, saved, state["param_schedulers"], epoch, iteration, moved, as_before)
    return list(describe_changes(changes))


def _restore_histories(runner: RunnerLike, saved: dict[str, Any]) -> None:
    scalars, facts = saved.get("log_scalars", {}), saved.get("runtime_info", {})
    scalars.update({name: history_from_plain(value) for name, value in scalars.items()})
    own = runner.message_hub.runtime_info
    facts.update({name: own[name] for name in _OF_THIS_RUN if name in own})
    runner.message_hub.load_state_dict(saved)


def position(runner: RunnerLike, meta: dict[str, Any]) -> tuple[int, int]:
    """Return completed epochs and iterations, counted in the iterations of this run.

    A checkpoint counts its own iterations, which have more or fewer images if the number of processes or the batch size
    was different.

    Args:
        runner: that is to go on.
        meta: metadata of the checkpoint.

    Raises:
        UsageError: the images seen in this epoch are not a multiple of the present iteration.
    """
    now, before = images_per_iter(runner), meta["images_per_iter"]
    if now == before and meta["epoch_length"] == len(runner.train_dataloader):
        return meta["epoch"], meta["iter"]
    seen = (meta["iter"] - meta["epoch"] * meta["epoch_length"]) * before
    if seen % now:
        raise UsageError(
            f"The run stopped after {seen:,} images of its epoch, {before} at a time, which is not a multiple of the "
            f"present {now} images per iteration: make train_dataloader.batch_size x processes a divisor of "
            f"{seen:,}, for example {before}."
        )
    return meta["epoch"], meta["epoch"] * len(runner.train_dataloader) + seen // now


def _aligned(runner: RunnerLike, state: dict[str, Any], iteration: int) -> dict[str, Any]:
    """Return the optimiser's state, without accumulated gradients if those do not fit the present accumulation."""
    meta, saved = state["meta"], dict(state["optimizer"])
    gathered = meta["iter"] % meta["accumulation"] * meta["images_per_iter"]
    if iteration % accumulation_of(runner) * images_per_iter(runner) != gathered:
        saved = {name: _without_gradients(value) for name, value in _without_gradients(saved).items()}
        if gathered:
            runner.logger.warning(
                "The accumulated gradients of %s images do not fit this run's optimiser steps, and are dropped.",
                gathered,
            )
    return saved


def _without_gradients(state: Any) -> Any:
    """Return the state of an optimiser without gradients; anything else as it is."""
    return {name: value for name, value in state.items() if name != "gradients"} if isinstance(state, dict) else state
