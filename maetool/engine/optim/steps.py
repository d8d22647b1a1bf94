"""One optimiser step for one or several optimisers: made, or skipped because it is not finite.

On an accelerator nothing is read back before the step: the optimiser itself leaves it out, by the flag `found_inf` that
PyTorch's fused optimisers heed, and what was not finite is read when the next step is due.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapperDict
from torch import Tensor

from maetool.ops import device

if TYPE_CHECKING:
    from .wrapper import AutocastOptimWrapper


class Outcome:
    """What was finite in an iteration: on its way from the device until somebody reads it.

    Args:
        values: float32 (N + 3,), the loss, N gradient norms, 1 if a process asks to skip the step, and the factor that
            the loss was multiplied by, 0 if it was not.
        due: whether an optimiser step was due.

    Attributes:
        fault: what was not finite in this process, once the outcome is read; None if all values were.
    """

    def __init__(self, values: Tensor, due: bool) -> None:
        self.due = due
        self.fault: str | None = None
        self._values = values
        self._event: torch.cuda.Event | None = None
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def read(self) -> list[float]:
        """Return the values, as soon as the device has computed them; later work need not be complete."""
        if self._event is not None:
            self._event.synchronize()
        return self._values.tolist()


def first_of(wrapper: Any) -> Any:
    """Return an optimiser wrapper, or the first one of several that step together."""
    return next(iter(wrapper.values())) if isinstance(wrapper, OptimWrapperDict) else wrapper


def settle(wrapper: Any) -> None:
    """Read what an optimiser wrapper has not read yet of the last iteration; one of MMEngine's reads nothing late.

    Args:
        wrapper: of a runner.
    """
    if isinstance(later := getattr(first_of(wrapper), "_later", None), Later):
        later.settle()


def pending_of(wrapper: Any) -> Outcome | None:
    """Return the outcome of the last iteration of an optimiser wrapper; None if it is read already.

    Args:
        wrapper: of a runner.
    """
    later = getattr(first_of(wrapper), "_later", None)
    return later.pending[-1] if isinstance(later, Later) and later.pending else None


class Later:
    """Makes the steps of some optimisers without reading anything before; reports on each when the next one is due.

    Args:
        wrappers: of the optimisers, as in `update_together`.
    """

    def __init__(self, wrappers: Sequence["AutocastOptimWrapper"]) -> None:
        self.wrappers = wrappers
        self.pending: list[Outcome] = []
        self._spoilt: Tensor | None = None  # bool, whether the gradients accumulated so far are broken
        self._loaded = wrappers[0]._spoilt  # the same of a resumed run

    def update(self, loss: Tensor, norms: Sequence[Tensor], due: bool) -> None:
        """Make the step if it is due, unless something is not finite; then the device leaves it out.

        Args:
            loss: scalar, whose gradients are there.
            norms: of the gradients, one for each optimiser.
            due: whether a step is due.
        """
        scaler = self.wrappers[0].loss_scaler
        values = torch.stack([loss.detach().float(), *(norm.float() for norm in norms)])
        scale = scaler.factor if scaler.is_enabled() else values.new_zeros(())
        finite = values.isfinite()
        # Gradients that overflow are no fault while the scale can fall, but their step is left out all the same.
        spoilt = ~finite[0] | (~finite[1:].all() & (scale < 1)) | self._loaded
        if self._spoilt is not None:
            spoilt |= self._spoilt
        self._loaded = False
        flags = torch.stack([spoilt, spoilt | ~finite.all()]).float()
        if due and get_world_size() > 1:
            all_reduce(flags, "max")  # queued like a kernel
        self.settle()  # reads the iteration before this one, whose weights are still there
        self._spoilt = None if due else spoilt
        self.pending.append(Outcome(torch.cat([values, flags[:1], scale[None]]), due))
        if due:
            self._make(norms, flags[1])

    def _make(self, norms: Sequence[Tensor], found_inf: Tensor) -> None:
        for one, norm in zip(self.wrappers, norms, strict=True):
            one._step(norm, found_inf)
            one.zero_grad()
        self.wrappers[0].loss_scaler.update_by(found_inf)

    def settle(self) -> None:
        """Read what is pending, and report on it."""
        while self.pending:
            outcome = self.pending.pop(0)
            loss, *norms, skipped, scale = outcome.read()
            outcome.fault = describe_fault(loss, norms, scale)
            for one, norm in zip(self.wrappers, norms, strict=True):
                one._report(outcome.fault, outcome.due, outcome.due and skipped > 0, norm)
            if self.wrappers[0].on_report is not None:
                self.wrappers[0].on_report(outcome)


def update_together(wrappers: Sequence["AutocastOptimWrapper"], loss: Tensor) -> None:
    """Accumulate the gradients of a loss for one or several optimisers; when the step is due, all make it, or none.

    Args:
        wrappers: of parameters that differ, with the same loss scaler, guard and number of accumulated iterations.
        loss: scalar, the sum of what the optimisers lower.
    """
    first, scaler = wrappers[0], wrappers[0].loss_scaler
    scaled = scaler.is_enabled()
    first.backward(first.scale_loss(loss))
    for other in wrappers[1:]:
        other._inner_count = first._inner_count
    due = first.should_update()
    if due and first.casts is not None:
        first.casts.drop()
    if due and scaled:
        for one in wrappers:
            scaler.unscale_(one.optimizer)
    judged = first.guard or scaled
    norms: list[Any] = [one._norm() if judged or (due and one.max_norm) else None for one in wrappers]
    if later := first.later(wrappers):
        later.update(loss, norms, due)
        return
    fault, overflow, values = _judge(first, loss, norms) if judged else (None, False, [math.nan] * len(norms))
    skipping = due and first._any_process(first._spoilt or fault is not None)
    left_out = skipping or (due and scaled and first._any_process(overflow))
    for one, norm, value in zip(wrappers, norms, values, strict=True):
        if due and not left_out:
            one._step(norm)
        one._report(fault, due, skipping, value)
    if due:
        scaler.update_by(left_out)
        for one in wrappers:
            one.zero_grad()


def _judge(first: "AutocastOptimWrapper", loss: Tensor, norms: Sequence[Any]) -> tuple[str | None, bool, list[float]]:
    """Return what is not finite and counts as a fault, whether scaled gradients overflowed, and their norms."""
    factor = [first.loss_scaler.factor] if first.loss_scaler.is_enabled() else []
    # One transfer, so one wait for the device.
    loss_value, *values = torch.stack([loss.detach().float(), *(norm.float() for norm in norms), *factor]).tolist()
    scale = values.pop() if factor else 0.0
    fault = describe_fault(loss_value, values, scale) if first.guard else None
    return fault, bool(factor) and not all(map(math.isfinite, values)), values


def describe_fault(loss: float, norms: Sequence[float], scale: float = 0.0) -> str | None:
    """Return what is not finite, of a loss and of gradient norms; None if all are.

    Args:
        loss: of this process.
        norms: of each optimiser.
        scale: that the loss was multiplied by, 0 if it was not; while it is at least 1, gradients that overflow are no
            fault, because it falls then.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    broken = [] if scale >= 1 else [value for value in norms if not math.isfinite(value)]
    return f"the gradient norm is {broken[0]}" if broken else None


def waits_at_reads(parameters: Sequence[Tensor]) -> bool:
    """Return whether reading a number of `parameters` would wait for a device."""
    return bool(parameters) and not device.reading_is_free(parameters[0])
