"""Optimiser wrapper for mixed precision on any device, and the parameter groups of weight decay."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS as ENGINE_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS
from torch import Tensor, nn

from maetool.compat import cpu_has_bfloat16
from maetool.errors import UsageError
from maetool.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS

Precision = Literal["auto", "bfloat16", "float16", "float32"]


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Optimiser wrapper whose forward pass runs in mixed precision, on accelerators and on the CPU.

    MMEngine's own wrapper refuses the CPU and scales the loss of bfloat16, which needs none.

    Args:
        optimizer: the optimiser.
        dtype: "bfloat16"; "float16", whose loss is scaled; "float32", no mixed precision; or "auto": bfloat16 where the
            device computes it, else float16 on CUDA and float32 elsewhere.
        accumulative_counts: iterations that make one optimiser step.
        clip_grad: arguments of gradient clipping, for example dict(max_norm=1.0).

    Raises:
        UsageError: an unknown dtype.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        dtype: Precision = "auto",
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(optimizer, accumulative_counts=accumulative_counts, clip_grad=clip_grad)
        self.dtype = choose_dtype(dtype)
        self.loss_scaler = torch.amp.GradScaler(
            "cuda", enabled=self.dtype is torch.float16 and torch.cuda.is_available()
        )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in mixed precision, without synchronising gradients between optimiser steps."""
        device = next(model.parameters()).device.type
        enabled = self.dtype is not torch.float32
        with super().optim_context(model), torch.autocast(device, self.dtype, enabled=enabled):
            yield

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a scalar loss."""
        self.loss_scaler.scale(loss).backward()
        self._inner_count += 1

    def step(self) -> None:
        """Clip the gradients if that was asked for and update the parameters."""
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer)
        self.loss_scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimiser and of the loss scale."""
        return {**super().state_dict(), "loss_scaler": self.loss_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` returned."""
        state = dict(state_dict)
        scale = state.pop("loss_scaler", None)
        if scale:
            self.loss_scaler.load_state_dict(scale)
        super().load_state_dict(state)


def choose_dtype(dtype: Precision) -> torch.dtype:
    """Return the torch dtype of a precision; "auto" looks at the device.

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


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DecayGroupsConstructor:
    """Two parameter groups: one-dimensional parameters and biases without weight decay, all others with it.

    As in MAE, the class token and the mask token are decayed. Two groups, where MMEngine's default makes one for each
    parameter, let the fused optimiser work on all at once.

    Args:
        optim_wrapper_cfg: config of the wrapper, with the optimiser's under `optimizer`.
        paramwise_cfg: not used by this constructor; MMEngine passes it.

    Raises:
        UsageError: `paramwise_cfg` was given.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        if paramwise_cfg:
            raise UsageError(
                f"DecayGroupsConstructor takes no paramwise_cfg, but got {paramwise_cfg}: leave it out, "
                'or use constructor="DefaultOptimWrapperConstructor".'
            )
        self.wrapper_cfg = dict(optim_wrapper_cfg)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Return the wrapper around an optimiser of the parameters of `model` that require a gradient."""
        model = getattr(model, "module", model)
        cfg = dict(self.wrapper_cfg)
        cfg.setdefault("type", "AutocastOptimWrapper")
        optimizer = OPTIMIZERS.build({**cfg.pop("optimizer"), "params": decay_groups(model)})
        return ENGINE_OPTIM_WRAPPERS.build({**cfg, "optimizer": optimizer})


def decay_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return the parameter groups of `DecayGroupsConstructor`; an empty group is left out."""
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (plain if parameter.ndim <= 1 or name.endswith(".bias") else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
