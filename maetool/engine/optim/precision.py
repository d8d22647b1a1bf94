"""The precisions that a config can name."""

from typing import Literal

import torch

from maetool.compat import cpu_has_bfloat16
from maetool.errors import UsageError

Precision = Literal["auto", "bfloat16", "float16", "float32"]


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


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a precision as configs write it: "float32" for torch.float32.

    Args:
        dtype: of the matrix products.
    """
    return str(dtype).removeprefix("torch.")
