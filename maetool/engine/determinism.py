"""Kernels that repeat to the bit, as `randomness.deterministic=True` asks for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from maetool.errors import UsageError


def allow_products() -> None:
    """Set the workspace with which CUDA's matrix products repeat, unless it is set; without it PyTorch refuses them."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def kernels_checked() -> Iterator[None]:
    """Turn PyTorch's error about an operation without a deterministic kernel into one sentence.

    Raises:
        UsageError: there is such an operation.
    """
    try:
        yield
    except RuntimeError as error:
        operation, missing, _ = str(error).partition(" does not have a deterministic implementation")
        if not missing:
            raise
        raise UsageError(
            f"randomness.deterministic=True, but PyTorch has no deterministic kernel for {operation} on this device: "
            "set randomness.deterministic=False; a resumed run then equals one that never stopped within rounding."
        ) from error
