"""Learning rate schedules with warm-up."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

from mmengine.optim import _ParamScheduler
from mmengine.runner import IterBasedTrainLoop

from maetool.errors import UsageError
from maetool.registry import PARAM_SCHEDULERS


class WarmupSchedule(_ParamScheduler):
    """A schedule that begins with a linear warm-up from exactly 0, evaluated every iteration at the fractional epoch.

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

    def __init__(
        self, optimizer: Any, epochs: float, warmup_epochs: float, epoch_length: int = 1, accumulation: int = 1
    ) -> None:
        if not 0 <= warmup_epochs < epochs:
            raise UsageError(
                f"The warm-up takes {warmup_epochs} epochs of {epochs}: make the scheduler's warmup_epochs "
                "(param_scheduler.0.warmup_epochs) smaller than train_cfg.max_epochs, or max_iters in epochs."
            )
        self.epochs, self.warmup_epochs = epochs, warmup_epochs
        self.epoch_length, self.accumulation = epoch_length, accumulation
        super().__init__(optimizer, "lr", by_epoch=False)
        # MMEngine would warn that the schedule runs ahead of the optimiser, which accumulation makes it do.
        self.optimizer._global_step = 0

    debug_arguments: ClassVar = {"warmup_epochs": 1}

    @classmethod
    def build_iter_from_epoch(cls, optimizer: Any, epoch_length: int, end: float, **shape: Any) -> "WarmupSchedule":
        """Build from a config with `convert_to_iter_based`, for which MMEngine says the length of training as `end`."""
        return cls(optimizer, float(end), epoch_length=epoch_length, **shape)

    def state_dict(self) -> dict[str, Any]:
        """Return the position and the base rates; the shape of the schedule is the config's, so that it can change."""
        return {name: getattr(self, name) for name in ("base_values", "last_step", "_global_step", "_last_value")}

    def jump_to(self, iteration: int) -> None:
        """Set the rates to those of a training of which so many iterations are over."""
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
            return base * epoch / self.warmup_epochs
        return self.after_warmup(epoch, base)

    def after_warmup(self, epoch: float, base: float) -> float:
        """Return the rate at a fractional epoch after the warm-up."""
        raise NotImplementedError(f"{type(self).__name__} must say what follows the warm-up: write `after_warmup`.")


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(WarmupSchedule):
    """Linear warm-up from exactly 0, then a half cosine.

    `lr(e) = base * e / warmup` for `e < warmup`, else
    `min_lr + (base - min_lr) * 0.5 * (1 + cos(pi * (e - warmup) / (epochs - warmup)))`, with `base` the rate of each
    parameter group. All of it, `min_lr` too, is scaled by the `lr_scale` of a group that has one, as with layer decay.
    Source: `util/lr_sched.py` of facebookresearch/mae.

    Args:
        optimizer, epochs, warmup_epochs, epoch_length, accumulation: see `WarmupSchedule`.
        min_lr: the rate at the end.

    Raises:
        UsageError: a warm-up that is not shorter than training.
    """

    def __init__(
        self,
        optimizer: Any,
        epochs: float,
        warmup_epochs: float,
        epoch_length: int = 1,
        min_lr: float = 0.0,
        accumulation: int = 1,
    ) -> None:
        self.min_lr = min_lr
        super().__init__(optimizer, epochs, warmup_epochs, epoch_length, accumulation)

    def after_warmup(self, epoch: float, base: float) -> float:
        """Return the rate at a fractional epoch after the warm-up."""
        share = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs)
        return self.min_lr + (base - self.min_lr) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


@PARAM_SCHEDULERS.register_module()
class WarmupStepLR(WarmupSchedule):
    """Linear warm-up from 0, then constant, and smaller from each of some places of training on.

    Args:
        optimizer, epochs, warmup_epochs, epoch_length, accumulation: see `WarmupSchedule`.
        milestones: those places, as shares of training.
        gamma: what the rate is multiplied by at each of them.

    Raises:
        UsageError: a warm-up that is not shorter than training, or a place outside of it.
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
    """Return the state of a schedule for a checkpoint, without functions, which its constructor makes again."""
    return {name: value for name, value in scheduler.state_dict().items() if not _has_function(value)}


def _has_function(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_function, value.values()))
    return any(map(_has_function, value)) if isinstance(value, list | tuple) else callable(value)


def fit_to_loop(schedulers: Any, loop: Any) -> Any:
    """Return configs of schedules with the length of a training that is counted in iterations filled in.

    MMEngine gives a schedule that is converted from epochs to iterations the number of epochs as its length, which such
    a training rounds up (ours) or states as 1 (MMEngine's).

    Raises:
        UsageError: a schedule that counts epochs in `IterBasedTrainLoop`, which has none.
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
