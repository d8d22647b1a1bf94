"""The losses of several heads as one."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def weighted_sum(losses: Mapping[str, Mapping[str, Tensor]], weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Return the losses of several heads as those of one.

    Args:
        losses: name to what the head of that name returned, scalars.
        weights: name to its weight; 1 where it is left out.

    Returns:
        `loss` and whatever else all heads return, such as `constant_predictor`, as weighted sums; under its name the
        loss of each head as it came; and what single heads return beside, as `<name>_<what>`.
    """
    shared = set.intersection(*(set(part) for part in losses.values()))
    total: dict[str, Any] = {
        key: sum(weights.get(name, 1.0) * part[key] for name, part in losses.items()) for key in sorted(shared)
    }
    parts = {name: part["loss"].detach() for name, part in losses.items()}
    others = {f"{name}_{key}": part[key] for name, part in losses.items() for key in part if key not in shared}
    return {**total, **parts, **others}
