"""The weights of a teacher, out of a file."""

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from maetool.config_stored import read_section
from maetool.errors import UsageError
from maetool.ops.geometry import grid_of, to_size
from maetool.positions import fit_positions
from maetool.weights import check_weights, read_checkpoint, weights_of

_KERNEL = "patch_embed.proj.weight"


def load_encoder(encoder: nn.Module, path: str) -> None:
    """Load the encoder's weights out of a checkpoint of a model, an exported encoder or a published state dict.

    Positions of another grid, which is the one that the file records, are resized, and a log line says so.

    Raises:
        UsageError: the file cannot be read, or lacks weights of the encoder or has them in other shapes.
    """
    state = read_checkpoint(path)
    weights = weights_of(state, path)
    inside = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    own = encoder.state_dict()
    # What else a file holds (a decoder, the mask token of another method) is no business of a teacher's.
    inside = {name: value for name, value in (inside or weights).items() if name in own}
    fitted = fit_positions(encoder, own, inside, _recorded_grid(encoder, state.get("meta"), inside))
    own = {name: value for name, value in own.items() if name != "mask_token" or name in fitted.weights}
    check_weights(own, fitted.weights, path)
    encoder.load_state_dict(fitted.weights, strict=False)
    for what, names in (
        ("resized", fitted.resized),
        ("taken for the same grid, which it does not say", fitted.assumed),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            print_log(f"The teacher {path}: {what}: {names[0]}{more}.", logger="current")


def _recorded_grid(encoder: nn.Module, meta: Any, weights: Mapping[str, Tensor]) -> tuple[int, ...] | None:
    """Return the grid of patches that a file says its encoder has; None where it does not say one."""
    exported = meta.get("encoder") if isinstance(meta, Mapping) else None
    recorded = exported or (read_section(meta, "model") or {}).get("encoder")
    if not isinstance(recorded, Mapping):
        return None
    patch_size = weights[_KERNEL].shape[2:] if _KERNEL in weights else _argument(recorded, encoder, "patch_size")
    try:
        return grid_of(to_size(_argument(recorded, encoder, "img_size"), "img_size"), to_size(patch_size, "patch_size"))
    except UsageError:
        return None


def _argument(recorded: Mapping[str, Any], encoder: nn.Module, name: str) -> Any:
    """Return an argument of the recorded encoder, or its class's default; nothing is imported to find the class."""
    if name in recorded or str(recorded.get("type")).rpartition(".")[2] != type(encoder).__name__:
        return recorded.get(name)
    parameter = inspect.signature(type(encoder)).parameters.get(name)
    return parameter.default if parameter else None
