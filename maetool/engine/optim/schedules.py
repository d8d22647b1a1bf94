"""Learning rate schedules with warm-up."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

from mmengine.optim import _ParamScheduler
from mmengine.runner import IterBasedTrainLoop

from maetool.errors import UsageError
from maetool.messages import plural
from maetool.registry import PARAM_SCHEDULERS


class WarmupSchedule(_ParamScheduler):
    """A schedule that begins with a linear warm-up from `start_lr`, evaluated every iteration at the fractional epoch.

    A subclass writes `after_warmup`. The rates of a group with an `lr_scale`, as with layer decay, are those of a group
    without one times that scale.

    Args:
        optimizer: optimiser or optimiser wrapper.
        epochs: length of training.
        warmup_epochs: length of the warm-up, less than `epochs`; may be a fraction.
        epoch_length: iterations of an epoch.
        accumulation: iterations that make one optimiser step; the rate only changes between steps.

    Raises:
        UsageError: a warm-up that is not shorter than training.
    """

    start_lr = 0.0

    def __init__(
        self, optimizer: Any, epochs: float, warmup_epochs: float, epoch_length: int = 1, accumulation: int = 1
    ) -> None:
        if not 0 <= warmup_epochs < epochs:
            raise UsageError(
                f"The warm-up takes {plural(warmup_epochs, 'epoch')} of {epochs}: make the scheduler's warmup_epochs "
                "(param_scheduler.0.warmup_epochs) smaller than train_cfg.max_epochs, or max_iters in epochs."
            )
        self.epochs, self.warmup_epochs = epochs, warmup_epochs
        self.epoch_length, self.accumulation = epoch_length, accumulation
        super().__init__(optimizer, "lr", by_epoch=False)
        # With gradient accumulation, MMEngine would warn that the schedule runs ahead of the optimiser.
        self.optimizer._global_step = 0

    debug_arguments: ClassVar = {"warmup_epochs": 1}

    @classmethod
    def build_iter_from_epoch(cls, optimizer: Any, epoch_length: int, end: float, **shape: Any) -> "WarmupSchedule":
        """Build from a config with `convert_to_iter_based`; MMEngine passes the length of training as `end`.

        Args:
            optimizer: whose rates it sets.
            epoch_length: iterations of an epoch.
            end: length of the training in epochs.
            shape: the other arguments of the schedule.
        """
        return cls(optimizer, float(end), epoch_length=epoch_length, **shape)

    def state_dict(self) -> dict[str, Any]:
        """Return the position and the base rates; the shape comes from the config, so it may change on resume."""
        return {name: getattr(self, name) for name in ("base_values", "last_step", "_global_step", "_last_value")}

    def jump_to(self, iteration: int) -> None:
        """Set the learning rates to those after `iteration` completed iterations."""
        self.last_step = self._global_step = iteration - 1
        self.step()

    def _get_value(self) -> list[float]:
        step = self.last_step - self.last_step % self.accumulation
        epoch = step / self.epoch_length
        scales = [group.get("lr_scale", 1.0) for group in self.optimizer.param_groups]
        return [scale * self.at(epoch, base / scale) for base, scale in zip(self.base_values, scales, strict=True)]

    def at(self, epoch: float, base: float) -> float:
        """Return the rate at a fractional epoch for the base rate `base`."""
        if epoch < self.warmup_epochs:
            return self.start_lr + (base - self.start_lr) * epoch / self.warmup_epochs
        return self.after_warmup(epoch, base)

    def after_warmup(self, epoch: float, base: float) -> float:
        """Return the learning rate after the warm-up.

        Args:
            epoch: fractional epochs since the start of training.
            base: rate of the parameter group at the end of the warm-up.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `after_warmup`, the rate after the warm-up.")


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(WarmupSchedule):
    """Linear warm-up from `start_lr`, by default exactly 0, then a half cosine.

    `lr(e) = start + (base - start) * e / warmup` for `e < warmup`, else
    `min_lr + (base - min_lr) * 0.5 * (1 + cos(pi * (e - warmup) / (epochs - warmup)))`, with `base` the rate of each
    parameter group. All of it, `min_lr` and `start_lr` too, is scaled by the `lr_scale` of a group that has one, as
    with layer decay.
    Source: `util/lr_sched.py` of facebookresearch/mae.

    Args:
        optimizer, epochs, warmup_epochs, epoch_length, accumulation: see `WarmupSchedule`.
        min_lr: the rate at the end of the half cosine.
        start_lr: the rate at the beginning (I-JEPA: a fifth of the highest).
        cosine_share: how much of the half cosine is over at the end of training; below 1 it ends above `min_lr` (CAPI).

    Raises:
        UsageError: a warm-up that is not shorter than training, a rate below 0, or a share that is not above 0 and at
            most 1.
    """

    def __init__(
        self,
        optimizer: Any,
        epochs: float,
        warmup_epochs: float,
        epoch_length: int = 1,
        min_lr: float = 0.0,
        accumulation: int = 1,
        start_lr: float = 0.0,
        cosine_share: float = 1.0,
    ) -> None:
        if start_lr < 0:
            raise UsageError(f"start_lr is {start_lr!r}, but must be a rate of at least 0.")
        if not 0 < cosine_share <= 1:
            raise UsageError(f"cosine_share is {cosine_share!r}, but must be above 0 and at most 1, the half cosine.")
        self.min_lr, self.start_lr, self.cosine_share = min_lr, start_lr, cosine_share
        super().__init__(optimizer, epochs, warmup_epochs, epoch_length, accumulation)

    def after_warmup(self, epoch: float, base: float) -> float:
        """Return the rate at a fractional epoch after the warm-up."""
        share = min((epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs), 1.0) * self.cosine_share
        return self.min_lr + (base - self.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


@PARAM_SCHEDULERS.register_module()
class WarmupStepLR(WarmupSchedule):
    """Linear warm-up from 0, then constant, multiplied by `gamma` at each milestone.

    Args:
        optimizer, epochs, warmup_epochs, epoch_length, accumulation: see `WarmupSchedule`.
        milestones: shares of training, between 0 and 1.
        gamma: factor of the learning rate at each milestone.

    Raises:
        UsageError: a warm-up that is not shorter than training, or a milestone outside it.
    """

    def __init__(
        self,
        optimizer: Any,
        epochs: float,
        warmup_epochs: float,
        milestones: Sequence[float],
        epoch_length: int = 1,
        gamma: float = 0.1,
        accumulation: int = 1,
    ) -> None:
        if not all(0 < share < 1 for share in milestones):
            raise UsageError(f"milestones is {list(milestones)}, but must be shares of training between 0 and 1.")
        self.milestones, self.gamma = tuple(milestones), gamma
        super().__init__(optimizer, epochs, warmup_epochs, epoch_length, accumulation)

    def after_warmup(self, epoch: float, base: float) -> float:
        """Return the rate at a fractional epoch after the warm-up."""
        return base * self.gamma ** sum(epoch >= share * self.epochs for share in self.milestones)


def state_of(scheduler: Any) -> dict[str, Any]:
    """Return the state of `scheduler` for a checkpoint, without functions, which its constructor creates again."""
    return {name: value for name, value in scheduler.state_dict().items() if not _has_function(value)}


def _has_function(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_function, value.values()))
    return any(map(_has_function, value)) if isinstance(value, list | tuple) else callable(value)


def fit_to_loop(schedulers: Any, loop: Any) -> Any:
    """Return configs of schedules with the length of an iteration-based training filled in.

    MMEngine passes the number of epochs as length to a schedule that is converted to iterations. In an iteration-based
    training this number is rounded up (maetool's loop) or 1 (MMEngine's loop).

    Args:
        schedulers: `param_scheduler` of a config: a schedule, a list of them, or a mapping from optimisers to lists.
        loop: of training.

    Raises:
        UsageError: an epoch-based schedule in `IterBasedTrainLoop`, which has no epochs.
    """
    if getattr(loop, "by_epoch", not isinstance(loop, IterBasedTrainLoop)):
        return schedulers
    if not isinstance(schedulers, Mapping):
        several = isinstance(schedulers, Sequence)
        return [fit_to_loop(each, loop) for each in schedulers] if several else schedulers
    if not schedulers.get("by_epoch", True):
        return schedulers
    if schedulers.get("convert_to_iter_based"):
        return {"end": Fraction(loop.max_iters, len(loop.dataloader)), **schedulers}
    if isinstance(loop, IterBasedTrainLoop):
        raise UsageError(
            f"{schedulers['type']} in param_scheduler counts epochs, but IterBasedTrainLoop has none: add "
            "by_epoch=False to count iterations, or convert_to_iter_based=True."
        )
    return schedulers
