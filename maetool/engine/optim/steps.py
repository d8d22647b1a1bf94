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
from torch.distributed.tensor import DTensor

from maetool.ops import device

if TYPE_CHECKING:
    from .wrapper import AutocastOptimWrapper


class Outcome:
    """What was finite in an iteration: on its way from the device until somebody reads it.

    Args:
        values: float32 (N + 2,), the loss, N gradient norms, and 1 if a process asks to skip the step.
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
        values = torch.stack([loss.detach().float(), *(norm.float() for norm in norms)])
        spoilt = ~values.isfinite().all() | self._loaded
        if self._spoilt is not None:
            spoilt |= self._spoilt
        self._loaded = False
        found = spoilt.float()
        if due and get_world_size() > 1:
            all_reduce(found, "max")  # queued like a kernel
        self.settle()  # reads the iteration before this one, whose weights are still there
        self._spoilt = None if due else spoilt
        self.pending.append(Outcome(torch.cat([values, found[None]]), due))
        if due:
            for one, norm in zip(self.wrappers, norms, strict=True):
                one._step(norm, found)
                one.zero_grad()

    def settle(self) -> None:
        """Read what is pending, and report on it."""
        while self.pending:
            outcome = self.pending.pop(0)
            loss, *norms, skipped = outcome.read()
            outcome.fault = describe_fault(loss, norms)
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
    first.backward(first.scale_loss(loss))
    for other in wrappers[1:]:
        other._inner_count = first._inner_count
    due = first.should_update()
    if due and first.casts is not None:
        first.casts.drop()
    if due and scaler.is_enabled():
        for one in wrappers:
            scaler.unscale_(one.optimizer)
    norms: list[Any] = [one._norm() if first.guard or (due and one.max_norm) else None for one in wrappers]
    if later := first.later(wrappers):
        later.update(loss, norms, due)
        return
    fault, values = _find_fault(first, loss, norms) if first.guard else (None, [math.nan] * len(norms))
    skipping = due and first._any_process(first._spoilt or fault is not None)
    for one, norm, value in zip(wrappers, norms, values, strict=True):
        if due and not skipping:
            one._step(norm)
        one._report(fault, due, skipping, value)
    if due:
        if scaler.is_enabled():
            scaler.update()  # after a step that was skipped, it resets the record that the gradients were unscaled
        for one in wrappers:
            one.zero_grad()


def _find_fault(first: "AutocastOptimWrapper", loss: Tensor, norms: Sequence[Any]) -> tuple[str | None, list[float]]:
    values = torch.stack([loss.detach().float(), *(norm.float() for norm in norms)])
    loss_value, *norm_values = values.tolist()  # one transfer, so one wait for the device
    scaler = first.loss_scaler
    handled = scaler.is_enabled() and scaler.get_scale() >= 1  # the scaler skips steps whose gradients overflow
    return describe_fault(loss_value, [] if handled else norm_values), norm_values


def describe_fault(loss: float, norms: Sequence[float]) -> str | None:
    """Return what is not finite, of a loss and of gradient norms; None if all are.

    Args:
        loss: of this process.
        norms: of each optimiser.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    broken = [value for value in norms if not math.isfinite(value)]
    return f"the gradient norm is {broken[0]}" if broken else None


def can_skip(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimiser can be told by a tensor to leave a step out.

    Those of PyTorch can where they can be fused, and others that say so by a class attribute `heeds_found_inf`.

    Args:
        optimizer: of parameters on one device.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    sharded = {isinstance(p, DTensor) for p in parameters if p.requires_grad}
    kinds: tuple[type, ...] = (torch.optim.Adam, torch.optim.AdamW)
    kinds += () if True in sharded else (torch.optim.SGD,)  # whose fused kernel takes no sharded tensors
    plain = len(sharded) <= 1 and all(p.is_floating_point() for p in parameters)
    if heeds_found_inf(optimizer):
        return plain and True not in sharded
    options = all(
        not group.get("differentiable") and group.get("fused") is not False for group in optimizer.param_groups
    )
    return type(optimizer) in kinds and plain and options and len({p.device for p in parameters}) == 1


def heeds_found_inf(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimiser that is not PyTorch's leaves a step out by its attribute `found_inf`.

    Args:
        optimizer: any.
    """
    return bool(getattr(type(optimizer), "heeds_found_inf", False))


def fuse(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimiser update all parameters by one kernel, which heeds `found_inf`; see `can_skip`.

    Args:
        optimizer: also of a run that began on a device without such kernels, whose step counts lie on the CPU; others
            than PyTorch's stay as they are.
    """
    if heeds_found_inf(optimizer):
        return
    for group in optimizer.param_groups:
        group["fused"] = True
        if group.get("foreach"):
            group["foreach"] = False
        for parameter in group["params"]:
            step = optimizer.state.get(parameter, {}).get("step")
            if step is not None:
                optimizer.state[parameter]["step"] = torch.as_tensor(step, dtype=torch.float32).to(parameter.device)
    vars(optimizer)["_step_supports_amp_scaling"] = True


def waits_at_reads(parameters: Sequence[Tensor]) -> bool:
    """Return whether reading a number of `parameters` would wait for a device."""
    return bool(parameters) and not device.reading_is_free(parameters[0])
