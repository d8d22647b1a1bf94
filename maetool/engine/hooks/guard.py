"""Handles optimiser steps whose loss or gradient is not finite."""

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.hooks import Hook
from torch import Tensor

from maetool.engine.optim.precision import name_of
from maetool.engine.optim.steps import first_of, settle
from maetool.engine.optim.wrapper import report_of
from maetool.errors import UsageError
from maetool.maskers import Masker
from maetool.metadata.provenance import versions
from maetool.parallel.sharding import is_sharded
from maetool.protocols import MaskedModelLike, ModelLike, RunnerLike
from maetool.registry import HOOKS
from maetool.structures import plan_to_dict
from maetool.weights.write import write_checkpoint

from .masker_progress import progress_at


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stores each step that the optimiser wrapper skipped, and ends the run after too many in a row.

    The file `broken_steps/iter_N_process_R.pth` holds weights, batch, plan and seeds; `maetool repeat_step` repeats
    it. Weights and optimiser stay as they were before the step.

    Args:
        max_in_a_row: number of consecutive skipped steps that ends the run.
        max_files: number of steps that are stored per run and process.

    Raises:
        UsageError: a number below 1.
    """

    def __init__(self, max_in_a_row: int = 5, max_files: int = 3) -> None:
        if min(max_in_a_row, max_files) < 1:
            raise UsageError(f"NonFiniteHook got {max_in_a_row=} and {max_files=}: make both at least 1.")
        self.max_in_a_row, self.max_files = max_in_a_row, max_files
        self._suspect: dict[str, Any] = {}
        self._file = "none written"
        self._unreported: deque[tuple[int, int, Any]] = deque()  # iteration, epoch and batch of each, oldest first

    def before_train(self, runner: RunnerLike) -> None:
        """Ask the optimiser wrapper for its reports; one that reads late reports before it makes the next step."""
        self._unreported.clear()
        first = first_of(runner.optim_wrapper)
        if hasattr(first, "on_report"):
            first.on_report = lambda _: self._handle(runner)

    def before_train_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None) -> None:
        """Keep the batch until it is known to be finite."""
        self._unreported.append((runner.iter, runner.epoch, data_batch))

    def read_pending(self, runner: RunnerLike) -> None:
        """Let the optimiser wrapper of `runner` report on all that it did."""
        settle(runner.optim_wrapper)

    def after_train_iter(self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Remember the first batch that was not finite; once its step is skipped, write it to a file.

        Raises:
            UsageError: too many consecutive steps were skipped, or a loss is not finite and the wrapper does not skip.
        """
        step = report_of(runner.optim_wrapper)
        if not step.guard:
            _check_loss(runner, outputs or {})
        if not step.deferred:
            self._handle(runner)

    def after_train(self, runner: RunnerLike) -> None:
        """Handle the last iteration."""
        self.read_pending(runner)

    def _handle(self, runner: RunnerLike) -> None:
        """Handle the report on the oldest iteration without one; the weights are those before its step, if skipped."""
        iteration, epoch, batch = self._unreported.popleft()
        step = report_of(runner.optim_wrapper)
        if step.fault and not self._suspect:  # of an accumulated step, the first broken batch
            self._suspect = describe_step(runner, batch, iteration, epoch)
        if step.skipping:
            self._report(runner, batch, iteration)

    def _report(self, runner: RunnerLike, data_batch: Any, iteration: int) -> None:
        wrapper, suspect = report_of(runner.optim_wrapper), self._suspect
        self._suspect = {}
        if wrapper.skipped <= self.max_files:
            # Collective; any process may write.
            held: dict[str, Any] = {"state_dict": runner.full_state_dict(everywhere=True)}
            if is_sharded(runner.bare_model):
                held["plan"] = _plan_of(runner.bare_model, suspect.get("batch", data_batch))
            if suspect:
                self._file = self._write(runner, {**suspect, **held}, iteration)
        fault = suspect["meta"]["fault"] if suspect else "seen by another process"
        runner.logger.warning(  # formatted here: MMEngine's logger shows warnings of the same template only once
            f"Step of iteration {iteration + 1} skipped: {fault}. Skipped so far: {wrapper.skipped}. "
            f"To repeat it: maetool repeat_step {self._file}"
        )
        if wrapper.skipped_in_a_row >= self.max_in_a_row:
            raise UsageError(
                f"{wrapper.skipped_in_a_row} steps in a row had a loss or gradient that is not finite (the last: "
                f"{fault}), so training was ended; the checkpoints hold the earlier state. Usual remedies: a smaller "
                "base_lr, optim_wrapper.clip_grad.max_norm=1.0, --amp float32, images without infinite or missing "
                f"values. To repeat the step, run `maetool repeat_step {self._file}`."
            )

    def _write(self, runner: RunnerLike, step: dict[str, Any], iteration: int) -> str:
        path = Path(runner.work_dir) / "broken_steps" / f"iter_{iteration + 1}_process_{runner.rank}.pth"
        try:
            write_checkpoint(step, path)
        except UsageError as error:
            runner.logger.warning(str(error))
            return "(not written)"
        return str(path)


def describe_step(
    runner: RunnerLike, batch: Mapping[str, Any], iteration: int | None = None, epoch: int | None = None
) -> dict[str, Any]:
    """Return everything that `maetool.engine.repeat` needs to repeat the step of a batch, except the weights.

    Where these are sharded the plan is missing too: all processes make it together, while one alone may see a fault.

    Args:
        runner: that trains.
        batch: as the loader gave it.
        iteration, epoch: of the step, counted from 0; by default the present ones.
    """
    step = report_of(runner.optim_wrapper)
    place = runner.iter if iteration is None else iteration, runner.epoch if epoch is None else epoch
    meta: dict[str, Any] = {"iter": place[0] + 1, "epoch": place[1], "seed": runner.seed, "process": runner.rank}
    meta |= {"fault": step.fault, "dtype": name_of(step.dtype), "versions": versions()}
    return {
        "meta": {**meta, **runner.config_facts},
        "batch": _tensors_in(batch),
        "plan": None if is_sharded(runner.bare_model) else _plan_at(runner, batch, place[0]),
    }


def _tensors_in(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors of a batch, and its mappings of tensors, such as `inputs` of several views."""
    kept = {name: _tensors_in(value) if isinstance(value, Mapping) else value for name, value in batch.items()}
    return {
        name: value for name, value in kept.items() if isinstance(value, Tensor) or (isinstance(value, dict) and value)
    }


def _plan_at(runner: RunnerLike, batch: Mapping[str, Any], iteration: int) -> dict[str, Any] | None:
    """Return the plan of an iteration, which a masker's schedule may have left behind."""
    maskers = [module for module in runner.bare_model.modules() if isinstance(module, Masker)]
    progress = [masker.progress for masker in maskers]
    try:
        for masker in maskers if iteration != runner.iter else ():
            masker.progress = progress_at(runner, iteration)
        return _plan_of(runner.bare_model, batch)
    finally:
        for masker, own in zip(maskers, progress, strict=True):
            masker.progress = own


@torch.no_grad()
def _plan_of(model: ModelLike, batch: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the mask plan of the step; None for a model without masking."""
    if not hasattr(model, "make_plan"):
        return None
    data = model.data_preprocessor(dict(batch))
    plan = cast(MaskedModelLike, model).make_plan(data["images"], data["data_samples"])
    return plan_to_dict(plan)


def _check_loss(runner: RunnerLike, outputs: Any) -> None:
    """End the run at a loss that is not finite: without a guard, the step has damaged the weights."""
    loss = float(torch.as_tensor(outputs.get("loss", 0.0)).detach())
    if not math.isfinite(loss):
        wrapper = first_of(runner.optim_wrapper)
        own = hasattr(wrapper, "guard")
        name, cure = type(wrapper).__name__, "guard=True" if own else "type=AutocastOptimWrapper"
        raise UsageError(
            f"The loss of iteration {runner.iter + 1} is {loss}, and {name}{' with guard=False' if own else ''} does "
            f"not skip such steps: use optim_wrapper.{cure}, which does, or a smaller learning rate."
        )
