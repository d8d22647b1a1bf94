"""The optimiser wrapper: mixed precision on any device, clipping, accumulation, and a guard against broken steps."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from maetool.annotations import Count
from maetool.compat import cpu_has_bfloat16
from maetool.errors import UsageError
from maetool.registry import OPTIM_WRAPPERS, find_part

Precision = Literal["auto", "bfloat16", "float16", "float32"]


class StepReport(NamedTuple):
    """An optimiser wrapper's report on the last iteration, which loops, hooks and logs read.

    A wrapper reports by attributes of these names. `AutocastOptimWrapper` has all of them; MMEngine's wrappers have
    none, because they make every step.

    Attributes:
        guard: whether steps that are not finite are skipped.
        fault: what was not finite in this process; None if all values were.
        skipping: whether the step was skipped; the same in all processes.
        skipped, skipped_in_a_row: number of skipped steps in total, and since the last good one.
        dtype: precision of the forward pass.
    """

    guard: bool = False
    fault: str | None = None
    skipping: bool = False
    skipped: int = 0
    skipped_in_a_row: int = 0
    dtype: torch.dtype = torch.float32


def report_of(wrapper: Any) -> StepReport:
    """Return a wrapper's report on the last iteration; attributes that it lacks have the defaults of `StepReport`.

    The report on several optimisers is that on the worst of them.
    """
    if isinstance(wrapper, OptimWrapperDict):
        return _report_of_several([report_of(one) for one in wrapper.values()])
    known = {name: getattr(wrapper, name) for name in StepReport._fields if hasattr(wrapper, name)}
    return StepReport(**{**known, "dtype": getattr(wrapper, "dtype", None) or _cast_dtype(wrapper)})


def _report_of_several(reports: Sequence[StepReport]) -> StepReport:
    return StepReport(
        guard=all(report.guard for report in reports),
        fault=next((report.fault for report in reports if report.fault), None),
        skipping=any(report.skipping for report in reports),
        skipped=max(report.skipped for report in reports),
        skipped_in_a_row=max(report.skipped_in_a_row for report in reports),
        dtype=reports[0].dtype,
    )


def _cast_dtype(wrapper: Any) -> torch.dtype:
    if not hasattr(wrapper, "cast_dtype"):  # MMEngine's AmpOptimWrapper has one; None means torch's default
        return torch.float32
    return wrapper.cast_dtype or torch.get_autocast_dtype("cuda" if torch.cuda.is_available() else "cpu")


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Optimiser wrapper whose forward pass runs in mixed precision, on accelerators and on the CPU.

    MMEngine's own wrapper refuses the CPU, and scales the loss even in bfloat16, which does not need it.

    A step whose loss or gradient is not finite is skipped: weights and optimiser stay as they are. With gradient
    accumulation the complete step is skipped. If the loss is scaled (float16), the loss scaler handles overflowing
    gradients, and they count here only once the scale has fallen below 1.

    Args:
        optimizer: the optimiser.
        dtype: "bfloat16"; "float16", with loss scaling on CUDA; "float32", no mixed precision; or "auto": bfloat16 if
            the device supports it, else float16 on CUDA and float32 elsewhere.
        accumulative_counts: iterations per optimiser step.
        clip_grad: None, or dict(max_norm=1.0): clip gradients to this L2 norm.
        guard: skip steps whose loss or gradient is not finite.

    Attributes:
        fault: what was not finite in this iteration of this process; None if all values were.
        skipping: whether the step of this iteration was skipped; the same in all processes.
        skipped, skipped_in_a_row: number of skipped steps in total, and since the last good one.

    Raises:
        UsageError: an unknown dtype, or an option of clipping that does not exist.
    """

    debug_arguments: ClassVar = {"dtype": "float32"}

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        dtype: Precision = "auto",
        accumulative_counts: Count = 1,
        clip_grad: dict[str, Any] | None = None,
        guard: bool = True,
    ) -> None:
        super().__init__(optimizer, accumulative_counts=accumulative_counts)
        self.dtype, self.guard, self.max_norm = choose_dtype(dtype), guard, _max_norm(clip_grad)
        scaled = self.dtype is torch.float16 and torch.cuda.is_available()
        self.loss_scaler = torch.amp.GradScaler("cuda", enabled=scaled)
        self.fault: str | None = None
        self.skipping, self.skipped, self.skipped_in_a_row = False, 0, 0
        self.prefix = ""  # of the logged norm; names the optimiser where there are several
        self._norm_value = math.nan
        self._spoilt = False  # the gradients accumulated so far are not all finite

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All parameters of the optimiser, in its order."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in mixed precision, without synchronising gradients between optimiser steps."""
        device = next(model.parameters()).device.type
        enabled = self.dtype is not torch.float32
        with super().optim_context(model), torch.autocast(device, self.dtype, enabled=enabled):
            yield

    def update_params(self, loss: Tensor, step_kwargs: Any = None, zero_kwargs: Any = None) -> None:
        """Accumulate the gradients of a scalar loss; when the step is due, make it, or skip it if it is not finite."""
        update_together([self], loss)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Accumulate the gradients of a scalar loss."""
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def _step(self, norm: Tensor | None) -> None:
        if self.max_norm:
            clip_grads_with_norm_(self.parameters, self.max_norm, norm)
        if math.isfinite(self._norm_value):
            self.message_hub.update_scalar(f"train/{self.prefix}grad_norm", self._norm_value)
        if self.loss_scaler.is_enabled() and all(p.grad is None for p in self.parameters):
            return  # a loss scaler takes no optimiser without gradients, such as one of several that learned nothing
        self.loss_scaler.step(self.optimizer)

    def _norm(self) -> Tensor:
        norm = get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def _any_process(self, flag: bool) -> bool:
        if not self.guard or get_world_size() == 1:
            return flag
        votes = torch.tensor(float(flag), device=self.parameters[0].device)
        all_reduce(votes)
        return votes.item() > 0

    def _count(self) -> None:
        self._spoilt = False
        self.skipped += self.skipping
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if self.skipping else 0

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimiser, the loss scaler and the guard.

        During gradient accumulation it includes the gradients accumulated so far, averaged over all processes, which
        must then call it together. Sharded tensors stay sharded; see `maetool.engine.optim.full_state`.
        """
        state = {**super().state_dict(), "loss_scaler": self.loss_scaler.state_dict()}
        state["guard"] = {"skipped": self.skipped, "in_a_row": self.skipped_in_a_row, "spoilt": self._spoilt}
        if not self.should_update():
            state["gradients"] = [None if p.grad is None else _mean(p.grad) for p in self.parameters]
            state["guard"]["spoilt"] = self._any_process(self._spoilt)  # a mean of gradients has one fault for all
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        state = dict(state_dict)
        if scale := state.pop("loss_scaler", None):  # empty if the checkpoint's run had no loss scaling
            self.loss_scaler.load_state_dict(scale)
        guard = state.pop("guard", {"skipped": 0, "in_a_row": 0, "spoilt": False})
        self.skipped, self.skipped_in_a_row, self._spoilt = guard["skipped"], guard["in_a_row"], guard["spoilt"]
        if gradients := state.pop("gradients", None):
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = None if gradient is None else gradient.to(parameter.device)
        super().load_state_dict(state)


def update_together(wrappers: Sequence[AutocastOptimWrapper], loss: Tensor) -> None:
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
    if due and scaler.is_enabled():
        for one in wrappers:
            scaler.unscale_(one.optimizer)
    norms = [one._norm() if first.guard or (due and one.max_norm) else None for one in wrappers]
    fault = _find_fault(wrappers, loss, norms) if first.guard else None
    spoilt = first._spoilt or fault is not None
    skipping = due and first._any_process(spoilt)
    for one, norm in zip(wrappers, norms, strict=True):
        one.fault, one._spoilt, one.skipping = fault, spoilt, skipping
        if due:
            one._count()
            if not skipping:
                one._step(norm)
    if due:
        if scaler.is_enabled():
            scaler.update()  # after a step that was skipped, it resets the record that the gradients were unscaled
        for one in wrappers:
            one.zero_grad()


def _find_fault(wrappers: Sequence[AutocastOptimWrapper], loss: Tensor, norms: Sequence[Any]) -> str | None:
    values = torch.stack([loss.detach().float(), *(norm.float() for norm in norms)])
    loss_value, *norm_values = values.tolist()  # one transfer, so one wait for the device
    for one, value in zip(wrappers, norm_values, strict=True):
        one._norm_value = value
    if not math.isfinite(loss_value):
        return f"the loss is {loss_value}"
    scaler = wrappers[0].loss_scaler
    if scaler.is_enabled() and scaler.get_scale() >= 1:
        return None
    broken = [value for value in norm_values if not math.isfinite(value)]
    return f"the gradient norm is {broken[0]}" if broken else None


def _max_norm(clip_grad: dict[str, float] | None) -> float | None:
    if clip_grad is None:
        return None
    max_norm = clip_grad.get("max_norm", 0) if isinstance(clip_grad, Mapping) and len(clip_grad) == 1 else 0
    if not isinstance(max_norm, int | float) or not max_norm > 0:
        raise UsageError(f"clip_grad is {clip_grad!r}, but must be None or dict(max_norm=N) with N above 0.")
    return max_norm


def _mean(gradient: Tensor) -> Tensor:
    if isinstance(gradient, DTensor):  # already averaged over the processes
        return gradient
    gradient = gradient.clone()
    if get_world_size() > 1:
        all_reduce(gradient, "mean")
    return gradient


def choose_dtype(dtype: Precision) -> torch.dtype:
    """Return the torch dtype of a precision; "auto" depends on the device.

    Raises:
        UsageError: an unknown precision.
    """
    if dtype not in ("auto", "bfloat16", "float16", "float32"):
        raise UsageError(f'dtype is {dtype!r}, but must be "auto", "bfloat16", "float16" or "float32".')
    if dtype != "auto":
        return getattr(torch, dtype)
    if not torch.cuda.is_available():
        return torch.bfloat16 if cpu_has_bfloat16() else torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def precision_of(wrapper: Mapping[str, Any]) -> str:
    """Return the precision in the config of an optimiser wrapper, as text."""
    kind = find_part(wrapper.get("type", "OptimWrapper"), OPTIM_WRAPPERS)
    if issubclass(kind, AutocastOptimWrapper):
        return name_of(choose_dtype(wrapper.get("dtype", "auto")))
    return str(wrapper.get("dtype") or "mixed precision") if issubclass(kind, AmpOptimWrapper) else "float32"


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a precision as configs write it: "float32" for torch.float32.

    Args:
        dtype: of the matrix products.
    """
    return str(dtype).removeprefix("torch.")
