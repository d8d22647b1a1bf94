"""Position embeddings of a model's parts: how they are stored, and how a file's are resized to another grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.geometry import format_size
from maetool.ops.pos_embed import (
    count_offsets,
    fit_pos_embed,
    flat_pos_embed,
    grid_of_table,
    resize_relative,
    resize_window,
    sincos_pos_embed,
    square_grid,
    square_window,
)

_TABLE, _RELATIVE = "pos_embed", ("rel_pos_h", "rel_pos_w")
Weights = Mapping[str, Tensor]


def keep_positions(part: nn.Module, table: Tensor, learned: bool = False) -> None:
    """Give a part its table (1, T + L, D) as `pos_embed`: a parameter where it is learned, else a buffer.

    Checkpoints hold the buffer too: a part that went on from weights of another grid has another table than that of
    its own grid. Those written before they did lack it, and leave the part the table that it has.
    """
    if learned:
        part.pos_embed = nn.Parameter(table)
        return
    part.register_buffer(_TABLE, table)
    part.register_load_state_dict_pre_hook(_complete)


def _complete(part: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    if any(name.startswith(prefix) for name in state):
        state.setdefault(prefix + _TABLE, part.pos_embed)


def with_tables(model: nn.Module, weights: Weights) -> dict[str, Tensor]:
    """Return weights with the fixed tables of the model that older files lack; see `keep_positions`."""
    lacking = {name: part.pos_embed for name, part in _parts(model).items() if _lacks(name, part, weights)}
    return {**weights, **lacking}


def _parts(model: nn.Module) -> dict[str, Any]:
    """Return the name of each table of positions in the state dict of a model, and the part that it belongs to."""
    names = {f"{path}.{_TABLE}" if path else _TABLE: part for path, part in model.named_modules()}
    return {name: part for name, part in names.items() if hasattr(part, "grid")}


def _lacks(name: str, part: Any, weights: Weights) -> bool:
    """Return whether a file has a part without its fixed table, as VideoMAE's and early ones of maetool."""
    stored_since = name not in weights and (_TABLE in part._buffers or _is_flat(part))
    return stored_since and any(other.startswith(name.removesuffix(_TABLE)) for other in weights)


def _is_flat(part: Any) -> bool:
    return getattr(part, "positions", None) == "flat"


@dataclass
class FittedWeights:
    """Weights whose tables of positions fit a model.

    Attributes:
        weights: all of them.
        resized: which tables were resized, from which grid to which.
        assumed: which were taken as they are although they may be of another grid, because nothing says it.
    """

    weights: dict[str, Tensor]
    resized: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)


def fit_positions(
    model: nn.Module, own: Weights, weights: Weights, recorded: Sequence[int] | None = None
) -> FittedWeights:
    """Return weights whose tables of positions are what the parts that they are from compute on the model's grids.

    Args:
        model: whose parts say their `grid`, with `relative_windows` how they cut it, or their `embed_grid`, into
            windows, and with `in_stream` that it is the grid of one stream of several.
        own: its state dict, with whole tensors.
        weights: of a file, under our names.
        recorded: the grid of the patches that the file is for, where it says one.

    Raises:
        UsageError: nothing says the grid of a table.
    """
    fitted, in_first = FittedWeights(dict(weights)), recorded
    for name, part in _parts(model).items():
        if name in own and own[name].ndim == 3 and (name in weights or _lacks(name, part, weights)):
            apart = getattr(part, "in_stream", False)  # streams have grids of their own, which no file records
            fitted_grid = _fit(fitted, name, part, own[name], None if apart else recorded)
            recorded = recorded if apart else fitted_grid
    for name, value in own.items():
        table = weights.get(name)
        if name.endswith(_RELATIVE) and table is not None and len(table) != len(value):
            fitted.weights[name] = resize_relative(table, len(value))
            fitted.resized.append(f"{name} from {len(table)} to {len(value)} rows")
    _fit_windows(fitted, model, own, recorded, in_first)
    _fit_separable(fitted, model, own, recorded)
    return fitted


def _fit_separable(fitted: FittedWeights, model: nn.Module, own: Weights, recorded: Sequence[int] | None) -> None:
    """Fit the learned tables of the first axis and of the others, see `maetool.layers.positions.add_positions`."""
    for path, part in model.named_modules():
        for suffix, axes in (("_temporal", slice(0, 1)), ("_spatial", slice(1, None))):
            name = f"{path}.{_TABLE}{suffix}" if path else _TABLE + suffix
            if name not in own or name not in fitted.weights:
                continue
            table, grid = fitted.weights[name], tuple(part.grid)[axes]
            known = None if recorded is None or getattr(part, "in_stream", False) else recorded[axes]
            old = grid_in_file(table, 0, known, grid)
            if old is None:
                raise UsageError(
                    f"{name} of the checkpoint has positions for {table.shape[1]} places, which is no square, and "
                    "nothing says which grid: set img_size of the encoder to the one that it was trained with."
                )
            fitted.weights[name] = fit_pos_embed(table, old, grid)
            if old != grid:
                fitted.resized.append(f"{name} from {format_size(old)} to {format_size(grid)}")


def _fit_windows(
    fitted: FittedWeights,
    model: nn.Module,
    own: Weights,
    recorded: Sequence[int] | None,
    in_first: Sequence[int] | None,
) -> None:
    """Fit the tables of relative positions in windows of all parts that have `relative_windows`.

    Those that have an `embed_grid` cut the grid `in_first`, of the first patches, which a file records.
    """
    for path, part in model.named_modules():
        if not hasattr(part, "relative_windows"):
            continue
        grid = in_first if hasattr(part, "embed_grid") else recorded
        before = part.relative_windows(grid) if grid else {}
        for name, window in part.relative_windows(getattr(part, "embed_grid", part.grid)).items():
            full_name = f"{path}.{name}" if path else name
            if full_name in own and full_name in fitted.weights and fitted.weights[full_name].ndim == 2:
                _fit_window(fitted, full_name, window, len(own[full_name]) - count_offsets(window), before.get(name))


def _fit_window(
    fitted: FittedWeights, name: str, window: tuple[int, ...], others: int, recorded: tuple[int, ...] | None
) -> None:
    """Fit the table `name` to a window; `others` of its rows belong to no offset."""
    table = fitted.weights[name]
    offsets = len(table) - others
    square = square_window(offsets)
    is_recorded = recorded is not None and count_offsets(recorded) == offsets
    old = recorded if is_recorded else window if count_offsets(window) == offsets else square
    if old is None:
        raise UsageError(
            f"{name} of the checkpoint has relative positions of {offsets} offsets, which is no square window, and "
            "nothing says which: set img_size of the encoder (and its window_size) as it was trained with."
        )
    fitted.weights[name] = resize_window(table, old, window)
    if old != window:
        fitted.resized.append(f"{name} from windows of {format_size(old)} to {format_size(window)}")
    elif not is_recorded and square not in (None, window):
        fitted.assumed.append(f"{name} of {format_size(window)}")


def _fit(fitted: FittedWeights, name: str, part: Any, own: Tensor, recorded: Sequence[int] | None) -> tuple[int, ...]:
    """Fit the table `name` to the grid of a part, and return the grid that it was for."""
    grid = tuple(part.grid)
    prefix = own.shape[1] - prod(grid)
    table = fitted.weights.get(name)
    if table is None:  # of a file in which fixed tables are computed and not stored
        there = tuple(recorded or grid)
        flat = flat_pos_embed(own.shape[2], prod(there), prefix) if _is_flat(part) else None
        table = sincos_pos_embed(own.shape[2], there, prefix) if flat is None else flat
    old = grid_in_file(table, prefix, recorded, grid)
    if old is None:
        raise UsageError(
            f"{name} of the checkpoint has positions for {table.shape[1] - prefix} patches, which is no square, and "
            "nothing says which grid: set img_size of the encoder to the one that it was trained with."
        )
    fitted.weights[name] = fit_pos_embed(table, old, grid, prefix)
    if old != grid:
        fitted.resized.append(f"{name} from {format_size(old)} to {format_size(grid)}")
    elif recorded is None and not _is_sure(table, prefix, grid):
        fitted.assumed.append(f"{name} of {format_size(grid)}")
    return old


def _is_sure(table: Tensor, prefix: int, grid: tuple[int, ...]) -> bool:
    return square_grid(table.shape[1], prefix) in (None, grid) or grid_of_table(table, prefix) == grid


def grid_in_file(
    table: Tensor, prefix: int = 1, recorded: Sequence[int] | None = None, requested: Sequence[int] | None = None
) -> tuple[int, ...] | None:
    """Return the grid that a file's table (1, T + L, D) of positions is for; None where nothing says it.

    It is what the file says, else the one whose fixed table it is, else the one that is asked for if the table has as
    many places, else the only axis, or a square on two axes.

    Args:
        table: the table.
        prefix: its rows that belong to no patch; one for a class token is also found.
        recorded: the grid that the file says, believed if the table has as many places.
        requested: the grid that somebody wants to use it on.
    """
    extra = {tuple(grid): table.shape[1] - prod(grid) for grid in (recorded, requested) if grid}
    if recorded and extra[tuple(recorded)] in (prefix, 1, 0):
        return tuple(recorded)
    if fixed := grid_of_table(table, prefix) or grid_of_table(table, 1):
        return fixed
    if requested and extra[tuple(requested)] in (prefix, 1):
        return tuple(requested)
    if requested and len(requested) == 1:
        return (table.shape[1] - prefix,)
    return square_grid(table.shape[1], prefix) if not requested or len(requested) == 2 else None
