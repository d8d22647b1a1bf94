"""The encoder's grid in a checkpoint's metadata, readable without the engine."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.geometry import grid_of, rank_of, to_size

from .stored_config import read_section

_KERNEL = "patch_embed.proj.weight"


def grid_in_meta(meta: Any, encoder: nn.Module, weights: Mapping[str, Tensor]) -> tuple[int, ...] | None:
    """Return the grid of patches that a checkpoint records for its encoder; None if it records none.

    Args:
        meta: the checkpoint's metadata.
        encoder: the encoder to load; its class gives defaults if the recorded class is the same.
        weights: weights of the encoder, under its own names.
    """
    exported = meta.get("encoder") if isinstance(meta, Mapping) else None
    recorded = exported or (read_section(meta, "model") or {}).get("encoder")
    if not isinstance(recorded, Mapping):
        return None
    img_size = _argument(recorded, encoder, "img_size")
    patch_size = weights[_KERNEL].shape[2:] if _KERNEL in weights else _argument(recorded, encoder, "patch_size")
    try:
        rank = rank_of(img_size, patch_size)
        return grid_of(to_size(img_size, "img_size", rank), to_size(patch_size, "patch_size", rank))
    except UsageError:
        return None


def _argument(recorded: Mapping[str, Any], encoder: nn.Module, name: str) -> Any:
    """Return an argument of the recorded encoder, or its class's default, without importing anything."""
    if name in recorded or str(recorded.get("type")).rpartition(".")[2] != type(encoder).__name__:
        return recorded.get(name)
    parameter = inspect.signature(type(encoder)).parameters.get(name)
    return parameter.default if parameter else None
