"""The precision in which a model is evaluated."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

Precision = Literal["auto", "bfloat16", "float16", "float32"]


@contextmanager
def evaluated_in(model: nn.Module, precision: Precision = "auto") -> Iterator[None]:
    """Run the forward passes of a model, and of its encoder, in mixed precision; what they return is float32.

    On accelerators the float32 products that remain use TF32. Nearest neighbours, probes and metrics are computed
    outside of the model, and so as precisely as ever.

    Args:
        model: whose calls are changed while the context lasts.
        precision: "auto" is bfloat16 on accelerators that support it, else float32.
    """
    kind = _kind_of(model)
    dtype = _dtype_of(precision, kind)
    if kind == "cpu" and dtype is torch.float32:
        yield
        return
    encoder = getattr(model, "encoder", None)
    with ExitStack() as changes:
        for module in [model, encoder] if isinstance(encoder, nn.Module) else [model]:
            changes.enter_context(_called_in(module, kind, dtype))
        yield


@contextmanager
def _called_in(module: nn.Module, kind: str, dtype: torch.dtype) -> Iterator[None]:
    forward, own = module.forward, vars(module).get("forward")

    @wraps(forward)
    def call(*arguments: Any, **named: Any) -> Any:
        if torch.is_autocast_enabled(kind):  # inside of the model
            return forward(*arguments, **named)
        with torch.autocast(kind, dtype, enabled=dtype is not torch.float32), _fast_products():
            outputs = forward(*arguments, **named)
        return tree_map_only(Tensor, lambda x: x.float() if x.is_floating_point() else x, outputs)

    module.forward = call
    try:
        yield
    finally:
        vars(module).pop("forward")
        if own is not None:
            module.forward = own


def _kind_of(model: nn.Module) -> str:
    return next((parameter.device.type for parameter in model.parameters()), "cpu")


def _dtype_of(precision: Precision, kind: str) -> torch.dtype:
    if precision != "auto":
        return getattr(torch, precision)
    able = kind == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if able or kind not in ("cpu", "cuda") else torch.float32


@contextmanager
def _fast_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")  # of no effect on a CPU without such products
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
