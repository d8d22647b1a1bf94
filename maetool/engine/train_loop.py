"""Training loops."""

from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import DistSamplerSeedHook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from maetool.annotations import Count, FromZero
from maetool.compat import seed_generators
from maetool.config.facts import has_classes
from maetool.data.datasets.labels import describe, warning_of
from maetool.engine.optim.casts import drop_casts, keeping_casts
from maetool.engine.optim.wrapper import report_of
from maetool.errors import UsageError
from maetool.evaluation.loop import KnnValLoop, PretrainValLoop, ValLoop, check_runner
from maetool.messages import plural
from maetool.protocols import RunnerLike
from maetool.registry import LOOPS
from maetool.structures.logged import logged_values

from .balance import balance
from .epochs import EndlessBatches, enter
from .hooks.scalars import needs_logged_values
from .saving import save_on_stop
from .sending import Sender
from .state import step_seed
from .stopping import StopRequest
from .validation_in_training import validate

__all__ = ["EndlessBatches", "KnnValLoop", "PretrainValLoop", "ResumableTrainLoop", "ValLoop"]

_FEW_STEPS = 5000


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """A training loop that resumes at the exact iteration where the run stopped.

    SIGTERM, SIGUSR1 or an exhausted time budget end it after the iteration in progress, without waiting for the next
    batch; `runner.stopped` then gives the reason, and `runner.saved_on_stop` whether that iteration is in a checkpoint.
    They also end a validation before its next batch; a resumed run repeats that validation first. A hook that sets
    `stop_training`, such as `EarlyStoppingHook`, ends training regularly.

    Args:
        runner: the runner.
        dataloader: loader or config, with a sampler that has `set_position`.
        max_epochs: number of epochs; set this or `max_iters`.
        val_interval: epochs between validations, or iterations with `max_iters`; None is 1 epoch, or 1,000 iterations.
        val_at_start: also validate before the first step, to measure the untrained encoder.
        max_hours: wall-clock budget from the start of the program; None for none.
        vote_every: iterations after which several processes agree whether a stop is requested; in between a process
            that is asked to stop still waits for its batch.
        max_iters: iterations of the run; the last epoch may be cut short.
        val_begin: the first epoch, or iteration, after which to validate.
        dynamic_intervals: pairs of an epoch, or iteration, and the `val_interval` from there on, see MMEngine.

    Raises:
        UsageError: not exactly one of `max_epochs` and `max_iters`, or a value that is not a whole number from 0.
    """

    def __init__(
        self,
        runner: RunnerLike,
        dataloader: Any,
        max_epochs: FromZero | None = None,
        val_interval: Count | None = None,
        val_at_start: bool = False,
        max_hours: float | None = None,
        max_iters: FromZero | None = None,
        val_begin: int = 1,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        vote_every: Count = 1,
    ) -> None:
        check_runner(type(self).__name__, runner)
        _check_length(max_epochs, max_iters)
        self.by_epoch = max_iters is None
        val_interval = val_interval or (1 if self.by_epoch else 1000)
        super().__init__(runner, dataloader, max_epochs or 0, val_begin, val_interval, dynamic_intervals)
        if max_iters is not None:
            self._max_iters, self._max_epochs = max_iters, -(-max_iters // len(self.dataloader))
        self.val_at_start, self.vote_every = val_at_start, vote_every
        self.stop = StopRequest(max_hours)
        self.owes_validation = False  # whether the validation after the last iteration was interrupted

    def run(self) -> torch.nn.Module:
        """Train until the end of the run, or until a stop is requested."""
        runner = self.runner
        runner.logger.info(runner.rate)
        runner.logger.info(self._describe())
        if sentence := balance(runner.bare_model, self.dataloader.dataset, self.dataloader.sampler):
            runner.logger.info(sentence)
        if has_classes(runner.bare_model):
            runner.logger.info(describe(self.dataloader.dataset))
            if warning := warning_of(self.dataloader.dataset, runner.bare_model):
                runner.logger.warning(warning)
        self._send = Sender(next(runner.model.parameters()).device)
        with self.stop, keeping_casts(runner.optim_wrapper):
            runner.call_hook("before_train")
            if (self.val_at_start and self._iter == 0) or (self.by_epoch and self.owes_validation):
                self._run_validation()
            while not self._is_over():
                self.run_epoch()
                if self.by_epoch and not runner.stopped:
                    self._validate(self._epoch, self._max_epochs)
            if self.stop_training:
                runner.logger.info(
                    "Training ends early, after iteration %d, because a hook set stop_training.", self._iter
                )
            runner.call_hook("after_train")
        return runner.model

    def _is_over(self) -> bool:
        over = self._epoch >= self._max_epochs if self.by_epoch else self._iter >= self._max_iters
        return (over and not self.owes_validation) or self.stop_training or bool(self.runner.stopped)

    def _validate(self, done: int, last: int) -> None:
        """Validate if that is due after `done` of `last` epochs, or iterations."""
        self._decide_current_val_interval()
        due = done >= self.val_begin and (done % self.val_interval == 0 or done == last)
        if due:
            self._run_validation()

    def _run_validation(self) -> None:
        """Validate; if a stop is requested meanwhile, the run is saved with this validation pending."""
        runner = self.runner
        drop_casts(runner.optim_wrapper)
        if self.owes_validation:
            runner.logger.info("The validation after iteration %d, which a stop interrupted, starts again.", self._iter)
        reason = validate(runner, self.stop) if runner.val_loop is not None else ""
        self.owes_validation = bool(reason)
        if reason:
            runner.last_saved = (-1, "")  # a checkpoint from before the validation does not record that it is pending
            self._save_and_stop(f"{reason} during validation")

    def _decide_current_val_interval(self) -> None:
        done = self._epoch if self.by_epoch else self._iter
        passed = sum(milestone <= done + 1 for milestone in self.dynamic_milestones)
        self.val_interval = self.dynamic_intervals[passed - 1]

    def _describe(self) -> str:
        runner = self.runner
        steps = -(-self.max_iters // runner.cfg.optim_wrapper.get("accumulative_counts", 1))  # the last may be of fewer
        epochs = self.max_epochs if self.by_epoch else round(self.max_iters / len(self.dataloader), 1)
        text = (
            f"{plural(len(self.dataloader.dataset), 'image')}, {plural(epochs, 'epoch')}, "
            f"{plural(self.max_iters, 'iteration')}, {plural(steps, 'optimiser step')}."
        )
        if not self.by_epoch and runner.val_loop is not None:
            text += f" Validation every {plural(self.val_interval, 'iteration')}."
        at_once = self.dataloader.batch_size * runner.world_size
        if steps < _FEW_STEPS and (runner.cfg.get("effective_batch_size") or 0) > at_once:
            text += (
                " Few steps learn little (the published recipe has 250,000): with few images use a smaller "
                f"effective batch, for example --cfg-options effective_batch_size={at_once}."
            )
        return text

    def run_epoch(self) -> None:
        """Run one epoch, or the rest of it after a resume or until the last iteration.

        Raises:
            UsageError: the resumed run had a different number of iterations per epoch.
        """
        length = len(self.dataloader)
        start = self._iter - self._epoch * length
        if not 0 <= start <= length:
            raise UsageError(
                f"The run stopped at iteration {self._iter} of epoch {self._epoch}, but an epoch now has {length} "
                "iterations: resume with the original data, batch size and number of processes."
            )
        enter(self.dataloader, self._epoch, start)
        self.runner.call_hook("before_train_epoch")
        if self.owes_validation:
            self._run_validation()
            if self.runner.stopped:
                return
        self.runner.model.train()
        end = length if self.by_epoch else min(length, start + self._max_iters - self._iter)
        for batch_idx, data_batch in enumerate(self.stop.batches(self.dataloader, end - start, self._votes), start):
            if self.stop.votes and self._stops():
                return
            self.run_iter(batch_idx, data_batch)
            self.stop.stepped = True
            if not self.by_epoch:
                self._validate(self._iter, self._max_iters)
                self.runner.model.train()
                if self.runner.stopped:
                    return
                if self._is_over():
                    break
        else:
            if self._stops():
                return
        self.runner.call_hook("after_train_epoch")
        self._epoch += self.by_epoch or self._iter == (self._epoch + 1) * length

    def _votes(self) -> bool:
        return get_world_size() == 1 or self._iter % self.vote_every == 0

    def _stops(self) -> bool:
        """Return whether a stop is requested, after saving the run; all processes must call it together."""
        reason = self.stop.reason()
        if reason:
            self._save_and_stop(reason)
        return bool(reason)

    def _save_and_stop(self, reason: str) -> None:
        self.runner.stopped = reason
        save_on_stop(self.runner)
        self.stop.end_loading()

    def run_iter(self, idx: int, data_batch: dict[str, Any]) -> None:
        """Run iteration `idx` of the epoch on `data_batch`; hooks get no outputs of a loss that is not finite."""
        runner = self.runner
        # Makes draws from the global generator (drop path, dropout) a function of iteration and process.
        seed_generators(step_seed(runner.seed, self._iter, runner.rank))
        runner.call_hook("before_train_iter", batch_idx=idx, data_batch=data_batch)
        if torch.cuda.is_available() and runner.cfg.get("compile"):
            torch.compiler.cudagraph_mark_step_begin()  # outputs of the graphs of the step before may be overwritten
        with logged_values(needs_logged_values(runner)):
            outputs = runner.model.train_step(self._send(data_batch), optim_wrapper=runner.optim_wrapper)
        report = report_of(runner.optim_wrapper)
        outputs = {} if report.fault and not report.deferred else outputs  # deferred, `Scalars` leaves them out
        runner.call_hook("after_train_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1


def _check_length(max_epochs: int | None, max_iters: int | None) -> None:
    if (max_epochs is None) == (max_iters is None):
        how = "neither" if max_epochs is None else f"both max_epochs={max_epochs} and max_iters={max_iters}"
        raise UsageError(
            f"train_cfg has {how}: set one of max_epochs and max_iters, and set the other to None if a base "
            "config has it."
        )
    for name, value in (("max_epochs", max_epochs), ("max_iters", max_iters)):
        if value is not None and (type(value) is not int or value < 0):
            raise UsageError(f"train_cfg.{name} is {value!r}, but must be a whole number from 0.")


def renew_epochs(loop: Any) -> None:
    """Make a training loop of MMEngine's give each epoch its own sample order and keys.

    Raises:
        UsageError: an endless sampler in an epoch-based loop, whose first epoch would never end.
    """
    runner, sampler = loop.runner, loop.dataloader.sampler
    if isinstance(loop, ResumableTrainLoop):
        return
    if isinstance(loop, IterBasedTrainLoop):
        if hasattr(sampler, "set_position"):
            loop.dataloader_iterator = EndlessBatches(loop.dataloader)
        return
    if getattr(sampler, "endless", False):
        raise UsageError(
            f"An epoch of {type(loop).__name__} never ends with InfiniteSampler: use DefaultSampler, or an "
            "iteration-based loop."
        )
    if not any(isinstance(hook, DistSamplerSeedHook) for hook in runner.hooks):
        runner.register_hook(DistSamplerSeedHook())


def enter_loop(loop: Any) -> None:
    """Make a resumed training loop of MMEngine continue within the epoch in which the run stopped."""
    if isinstance(loop, IterBasedTrainLoop):
        loop._epoch = 0  # it counts one epoch, however often it passes over the data
    elif not isinstance(loop, ResumableTrainLoop) and hasattr(loop.dataloader.sampler, "set_position"):
        enter(loop.dataloader, loop._epoch, loop._iter - loop._epoch * len(loop.dataloader))
