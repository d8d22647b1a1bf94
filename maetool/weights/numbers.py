"""What the tensors of a checkpoint hold, beside their names."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from maetool.errors import UsageError


def check_numbers(weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that weights are numbers with which a model can compute.

    Args:
        weights: by name.
        source: the file, for messages.

    Raises:
        UsageError: integers, as quantisation leaves them, or NaN or infinite values.
    """
    _check_types(weights, source)
    _check_finite(weights, source)


def as_table(positions: Tensor) -> Tensor:
    """Return a table of positions as (1, L, D), which some programs store as (L, D).

    Args:
        positions: of any other shape too, which stays.
    """
    return positions[None] if positions.ndim == 2 else positions


def _check_types(weights: Mapping[str, Tensor], source: str | Path) -> None:
    whole = [
        name
        for name, value in weights.items()
        if name.rpartition(".")[2] in ("weight", "bias") and not value.is_floating_point()
    ]
    if whole:
        raise UsageError(
            f"{source}: {len(whole)} weights are of the type {weights[whole[0]].dtype} (first {whole[0]}), as "
            "quantisation leaves them, and mean nothing without its scales: save the weights as float32 or float16."
        )


def _check_finite(weights: Mapping[str, Tensor], source: str | Path) -> None:
    broken = [name for name, value in weights.items() if not name.endswith("mask") and not _is_finite(value)]
    if broken:
        raise UsageError(
            f"{source}: {broken[0]} has NaN or infinite values, as have {len(broken)} of its {len(weights)} tensors "
            "in all: use an earlier checkpoint, or ask its author for another file."
        )


def _is_finite(value: Tensor) -> bool:
    if value.is_meta or not value.is_floating_point():
        return True
    # A sum needs no memory of the size of the tensor, but that of large numbers may overflow.
    return bool(value.float().sum().isfinite()) or bool(value.isfinite().all())
