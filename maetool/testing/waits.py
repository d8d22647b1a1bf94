"""Operations that make a program wait for its accelerator, counted without one.

Kernels of an accelerator are queued; a program waits for all of them when it reads a number back, makes a tensor whose
shape depends on values, or copies between devices. In torch's `FakeTensorMode` tensors have shapes and devices but no
numbers, so that parts can run "on CUDA" on any machine.
"""

import copy
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from .contracts import _require

_READS = {
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "nonzero",
    "masked_select",
    "unique_dim",
    "_unique2",
    "bincount",
}
_COPIES = {"_to_copy", "copy_"}
_SKIPPED = ("/torch/", "/contextlib.py")


class WaitCounter(TorchDispatchMode):
    """Records the operations that wait for the device while it is entered.

    Attributes:
        waits: a line on each, with the place in maetool or a plugin that asked for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and record it if it waits."""
        name = func._schema.name.split("::")[1]
        try:
            result = func(*args, **(kwargs or {}))
        except (DataDependentOutputException, DynamicOutputShapeException):
            self._record(name)
            raise
        if name in _READS or (name in _COPIES and _crosses(args, result, kwargs or {})):
            self._record(name)
        return result

    def _record(self, name: str) -> None:
        frame: Any = sys._getframe()
        while frame.f_code.co_filename == __file__ or any(part in frame.f_code.co_filename for part in _SKIPPED):
            frame = frame.f_back
        self.waits.append(f"{name} in {frame.f_code.co_filename}, line {frame.f_lineno}")


def _crosses(args: Any, result: Any, kwargs: Mapping[str, Any]) -> bool:
    """Return whether a copy goes from one device to another, and waits for it."""
    source = args[1] if len(args) > 1 and isinstance(args[1], Tensor) else args[0]  # of copy_, and of _to_copy
    sent = kwargs.get("non_blocking") or (len(args) > 2 and args[2] is True)
    return source.device != result.device and not (sent and source.device.type == "cpu")


def waits_of(function: Callable[..., Any], *values: Any, device: str = "cuda") -> list[str]:
    """Return the operations of a call that wait for the device, except for what only its first call does.

    Args:
        function: called with the values as if they were on the device, without gradient; once more if it waited,
            because parts may remember what they sent there.
        values: tensors and modules, and lists, dicts and data classes of them.
        device: which the values pretend to be on.
    """
    counter, values = WaitCounter(), copy.deepcopy(values)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        pretended = [_pretend(value, device) for value in values]
        for _ in range(2):
            counter.waits.clear()
            with counter:
                try:
                    function(*pretended)
                except (DataDependentOutputException, DynamicOutputShapeException):
                    break  # without numbers it cannot go on
            if not counter.waits:
                break
    return counter.waits


def check_no_waits(function: Callable[..., Any], *values: Any) -> None:
    """A call never waits for an accelerator; see `waits_of`.

    Args:
        function: for example the forward pass of a part.
        values: what it is called with, the part itself among them.

    Raises:
        AssertionError: it does; the message says where.
    """
    waits = waits_of(function, *values)
    _require(not waits, f"nothing waits for the device ({', '.join(waits)})")


def _pretend(value: Any, device: str) -> Any:
    """Return tensors without numbers, as if they were on a device; modules are changed in place."""
    if isinstance(value, nn.Module):
        for module in value.modules():
            for held in (module._parameters, module._buffers):
                held.update({name: _pretend(x, device) for name, x in held.items() if x is not None})
        return value
    if isinstance(value, Tensor):
        fake = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)
        return nn.Parameter(fake, value.requires_grad) if isinstance(value, nn.Parameter) else fake
    if isinstance(value, Mapping):
        return {name: _pretend(each, device) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_pretend(each, device) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _pretend(getattr(value, field.name), device) for field in fields(value)})
    return value
