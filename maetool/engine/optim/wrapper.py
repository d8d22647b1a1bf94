"""The optimiser wrapper: mixed precision on any device, clipping, accumulation, and a guard against broken steps."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from maetool.annotations import Count
from maetool.errors import UsageError
from maetool.parallel.accumulation import exchange_gradients, reduce_gradients
from maetool.parallel.sharding import is_sharded
from maetool.registry import OPTIM_WRAPPERS, find_part
from maetool.structures.over_processes import averaged_over_processes

from .casts import CastWeights
from .check import check_optimizer
from .leaving_out import can_skip, fuse, step_unless
from .loss_scaler import LossScaler
from .precision import Precision, choose_dtype, name_of
from .steps import Later, Outcome, settle, update_together, waits_at_reads


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
        deferred: whether `fault` and what follows are those of the iteration before, because this one is not read yet.
    """

    guard: bool = False
    fault: str | None = None
    skipping: bool = False
    skipped: int = 0
    skipped_in_a_row: int = 0
    dtype: torch.dtype = torch.float32
    deferred: bool = False


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
        deferred=reports[0].deferred,
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
    accumulation the complete step is skipped. If the loss is scaled (float16), gradients that overflow leave out the
    step and lower the scale, and they count here only once that has fallen below 1.

    Args:
        optimizer: the optimiser.
        dtype: "bfloat16"; "float16", with loss scaling on CUDA; "float32", no mixed precision; or "auto": bfloat16 if
            the device supports it, else float16 on CUDA and float32 elsewhere.
        accumulative_counts: iterations per optimiser step.
        clip_grad: None, or dict(max_norm=1.0): clip gradients to this L2 norm.
        guard: skip steps whose loss or gradient is not finite.
        deferred: do not wait for the device to know whether a step was finite: the optimiser leaves it out there, and
            it is reported one iteration later. None: on accelerators, where the optimiser can, as PyTorch's AdamW,
            Adam and SGD (without dampening) and LARS can.

    Attributes:
        fault: what was not finite in this iteration of this process; None if all values were.
        skipping: whether the step of this iteration was skipped; the same in all processes.
        skipped, skipped_in_a_row: number of skipped steps in total, and since the last good one.

    Raises:
        UsageError: an unknown dtype, an option of clipping that does not exist, or an optimiser that cannot make a step
            here, see `check_optimizer`.
    """

    debug_arguments: ClassVar = {"dtype": "float32"}

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        dtype: Precision = "auto",
        accumulative_counts: Count = 1,
        clip_grad: dict[str, Any] | None = None,
        guard: bool = True,
        deferred: bool | None = None,
    ) -> None:
        check_optimizer(optimizer)
        super().__init__(optimizer, accumulative_counts=accumulative_counts)
        self.dtype, self.guard, self.max_norm = choose_dtype(dtype), guard, _max_norm(clip_grad)
        scaled = self.dtype is torch.float16 and torch.cuda.is_available()
        self.loss_scaler = LossScaler("cuda", enabled=scaled)
        self.fault: str | None = None
        self.skipping, self.skipped, self.skipped_in_a_row = False, 0, 0
        self.prefix = ""  # of the logged norm; names the optimiser where there are several
        self._deferred = deferred
        self._later: Later | None = None
        self.on_report: Callable[[Outcome], None] | None = None  # called once an iteration is read late
        self._spoilt = False  # the gradients accumulated so far are not all finite
        self.casts: CastWeights | None = None  # those of a training loop
        self._unreduced: nn.Module | None = None  # a sharded model whose accumulated gradients each process has alone

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All parameters of the optimiser, in its order."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in mixed precision, without synchronising gradients between optimiser steps."""
        device = next(model.parameters()).device.type
        enabled = self.dtype is not torch.float32
        mixed = torch.autocast(device, self.dtype, enabled=enabled)
        if self.casts is not None and enabled and self._accumulative_counts > 1 and not is_sharded(model):
            self.casts.keep(model)
        self._unreduced = model if exchange_gradients(model, self.should_sync()) else None
        with super().optim_context(model), mixed, averaged_over_processes():
            yield

    def update_params(self, loss: Tensor, step_kwargs: Any = None, zero_kwargs: Any = None) -> None:
        """Accumulate the gradients of a scalar loss; when the step is due, make it, or skip it if it is not finite."""
        update_together([self], loss)

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Accumulate the gradients of a scalar loss."""
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    @property
    def deferred(self) -> bool:
        """Whether the report is on the iteration before."""
        return self._later is not None

    def later(self, wrappers: Sequence["AutocastOptimWrapper"]) -> Later | None:
        """Return what makes the steps of all `wrappers` without reading anything; None if these must read.

        Raises:
            UsageError: `deferred=True`, but an optimiser cannot leave a step out by itself.
        """
        if self._later is None and self.guard and self._deferred is not False:
            able = all(can_skip(one.optimizer) for one in wrappers)
            if self._deferred and not able:
                raise UsageError(
                    "optim_wrapper.deferred=True needs an optimiser that can leave out a step by itself: LARS, or "
                    "PyTorch's AdamW, Adam or SGD on one device, without fused=False and dampening."
                )
            if able and (self._deferred or waits_at_reads(self.parameters)):
                later = Later(wrappers)
                for one in wrappers:
                    one._later = later
                    fuse(one.optimizer)
        return self._later

    def _report(self, fault: str | None, due: bool, skipping: bool, norm: float) -> None:
        """Note what an iteration gave; `norm` is that of the gradients, NaN if it was not needed."""
        self.fault, self.skipping = fault, skipping
        self._spoilt = self._spoilt or fault is not None
        if due:
            self._count()
            if not skipping and math.isfinite(norm):
                self.message_hub.update_scalar(f"train/{self.prefix}grad_norm", norm)

    def _step(self, norm: Tensor | None, found_inf: Tensor | None = None) -> None:
        """Make the step; if there is `found_inf`, a float on the device, the optimiser skips it where that is 1."""
        if self.max_norm:
            clip_grads_with_norm_(self.parameters, self.max_norm, norm)
        if found_inf is None:
            self.optimizer.step()
        else:
            step_unless(found_inf, self.optimizer)

    def _norm(self) -> Tensor:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if not gradients:  # such as those that a sharded model has not reduced yet
            return torch.zeros((), device=self.parameters[0].device)
        norm = get_total_norm(gradients)
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
        settle(self)
        state = {**super().state_dict(), "loss_scaler": self.loss_scaler.state_dict()}
        state["guard"] = {"skipped": self.skipped, "in_a_row": self.skipped_in_a_row, "spoilt": self._spoilt}
        if not self.should_update():
            if self._unreduced is not None:
                reduce_gradients(self._unreduced)
                self._unreduced = None
            state["gradients"] = [None if p.grad is None else _mean(p.grad) for p in self.parameters]
            state["guard"]["spoilt"] = self._any_process(self._spoilt)  # a mean of gradients has one fault for all
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        state = dict(state_dict)
        if scale := state.pop("loss_scaler", None) or {}:  # empty if the checkpoint's run had no loss scaling
            self.loss_scaler.load_state_dict(scale)
        guard = state.pop("guard", {"skipped": 0, "in_a_row": 0, "spoilt": False})
        self.skipped, self.skipped_in_a_row, self._spoilt = guard["skipped"], guard["in_a_row"], guard["spoilt"]
        if gradients := state.pop("gradients", None):
            ratio = self.loss_scaler.get_scale() / scale.get("scale", 1.0)  # not 1 in another precision than before
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = None if gradient is None else gradient.to(parameter.device) * ratio
        for saved, own in zip(state.get("param_groups", ()), self.optimizer.param_groups, strict=False):
            saved.update({name: own[name] for name in ("fused", "foreach") if name in own})  # of the present device
        super().load_state_dict(state)
        self._later = None  # what was pending is of another run; a fused optimiser is made of the loaded one


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


def precision_of(wrapper: Mapping[str, Any]) -> str:
    """Return the precision in the config of an optimiser wrapper, as text."""
    kind = find_part(wrapper.get("type", "OptimWrapper"), OPTIM_WRAPPERS)
    if issubclass(kind, AutocastOptimWrapper):
        return name_of(choose_dtype(wrapper.get("dtype", "auto")))
    return str(wrapper.get("dtype") or "mixed precision") if issubclass(kind, AmpOptimWrapper) else "float32"
