"""What a checkpoint holds, and how a run goes on from one, on whatever number of processes."""

import platform
import time
from typing import Any

import mmengine
import torch

from maetool import __version__
from maetool.errors import UsageError
from maetool.ops.random import sample_keys

from .checkpoint import history_from_plain
from .provenance import git_revision

_NEEDED = ("meta", "state_dict", "optimizer", "message_hub")


def training_state(runner: Any, epoch: int, iteration: int) -> dict[str, Any]:
    """Return everything that training needs to go on; all processes must call it together.

    Args:
        runner: the runner.
        epoch: epochs that are over.
        iteration: iterations that are over.
    """
    state = {
        "meta": {**_facts(runner), "epoch": epoch, "iter": iteration},
        "state_dict": runner.whole_weights(),
        "message_hub": runner.message_hub.state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),
        "param_schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers or ()],
    }
    runner.call_hook("before_save_checkpoint", checkpoint=state)
    return state


def _facts(runner: Any) -> dict[str, Any]:
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
        "dataset_meta": runner.train_dataloader.dataset.metainfo,
    }


def versions() -> dict[str, str]:
    """Return the versions that a result depends on, and the revision of maetool's repository."""
    return {
        "maetool": __version__,
        "revision": git_revision(),
        "torch": str(torch.__version__),
        "mmengine": mmengine.__version__,
        "python": platform.python_version(),
    }


def step_seed(seed: int, iteration: int, process: int) -> int:
    """Return the seed of what draws from torch's generator in a step: drop path, dropout."""
    return int(sample_keys(seed, iteration, torch.tensor(process)))


def images_per_iter(runner: Any) -> int:
    """Return how many images all processes together see in an iteration."""
    return runner.train_dataloader.batch_size * runner.world_size


def accumulation_of(runner: Any) -> int:
    """Return how many iterations make one optimiser step."""
    return runner.cfg.optim_wrapper.get("accumulative_counts", 1)


def check_resumable(runner: Any, state: dict[str, Any], source: str) -> None:
    """Check that a run can go on from a checkpoint.

    Raises:
        UsageError: it holds only weights, or was trained with another seed or other data.
    """
    if any(key not in state for key in _NEEDED):
        raise UsageError(
            f"{source} holds only weights, so training cannot go on from it: resume from a checkpoint that "
            "training wrote, or start from its weights with --cfg-options load_from=PATH."
        )
    meta, images = state["meta"], len(runner.train_dataloader.dataset)
    for name, found, now in (("seed", meta["seed"], runner.seed), ("number of images", meta["num_images"], images)):
        if found != now:
            raise UsageError(
                f"{source} was trained with {name} {found:,}, but it is {now:,} now: resume with what the run began "
                "with, or start anew from its weights with --cfg-options load_from=PATH."
            )


def restore(runner: Any, state: dict[str, Any]) -> None:
    """Put optimiser, schedules, histories and position of a checkpoint into a runner whose weights are loaded."""
    epoch, iteration = position(runner, state["meta"])
    runner.train_loop._epoch, runner.train_loop._iter = epoch, iteration
    scalars = state["message_hub"].get("log_scalars", {})
    scalars.update({name: history_from_plain(value) for name, value in scalars.items()})
    runner.message_hub.load_state_dict(state["message_hub"])
    runner.optim_wrapper.load_state_dict(_aligned(runner, state, iteration))
    for scheduler, saved in zip(runner.param_schedulers or (), state["param_schedulers"], strict=True):
        if iteration != state["meta"]["iter"] and not scheduler.by_epoch:
            saved = {"base_values": saved["base_values"], "last_step": iteration, "_global_step": iteration + 1}
        scheduler.load_state_dict(saved)


def position(runner: Any, meta: dict[str, Any]) -> tuple[int, int]:
    """Return epochs and iterations that are over, counted in the iterations of this run.

    A checkpoint counts in its own iterations, of more or fewer images where the number of processes or the batch size
    was another.

    Raises:
        UsageError: the images seen in this epoch are no whole number of iterations now.
    """
    now, before = images_per_iter(runner), meta["images_per_iter"]
    if now == before:
        return meta["epoch"], meta["iter"]
    seen = (meta["iter"] - meta["epoch"] * meta["epoch_length"]) * before
    if seen % now:
        raise UsageError(
            f"The run stopped after {seen:,} images of its epoch, {before} at a time, which is no whole number of "
            f"iterations of {now} images now: make train_dataloader.batch_size x processes a divisor of {seen:,}, "
            f"for example {before}."
        )
    return meta["epoch"], meta["epoch"] * len(runner.train_dataloader) + seen // now


def _aligned(runner: Any, state: dict[str, Any], iteration: int) -> dict[str, Any]:
    """Return the optimiser's state, without gradients that were gathered for a step of other images."""
    meta, saved = state["meta"], dict(state["optimizer"])
    gathered = meta["iter"] % meta["accumulation"] * meta["images_per_iter"]
    if iteration % accumulation_of(runner) * images_per_iter(runner) != gathered:
        saved.pop("gradients", None)
        runner.logger.warning("The gradients of %s images, gathered for the next step, do not fit here.", gathered)
    return saved
