"""Positions of the tokens of several streams."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from maetool.errors import UsageError
from maetool.ops.pos_embed import sincos_pos_embed
from maetool.ops.rotary import Rope, grid_coords, rotary

from .positions import ROTARY, PosEmbed, add_positions, positions_of

StreamCode = Literal["none", "concat", "learned"]
StreamPosEmbed = PosEmbed | Literal["coords"]


class Positions(nn.Module):
    """Positions of one stream.

    Args:
        kind: see `add_positions`; or "coords", a network of the layout's coordinates (Point-MAE).
        width: D.
        grid: that is trained on.
        code: (Dc,), what marks the stream: the last Dc channels of its table. None, nothing.
        coord_dim: axes of the coordinates.

    Raises:
        UsageError: a kind that this stream cannot have.
    """

    in_stream = True

    def __init__(
        self, kind: StreamPosEmbed, width: int, grid: Sequence[int], code: Tensor | None = None, coord_dim: int = 0
    ) -> None:
        super().__init__()
        if code is not None and kind not in ("sincos", "learned", "flat"):
            raise UsageError(
                f"pos_embed of a stream is {kind!r}, but stream_code='concat' needs a table that is added: take "
                "'sincos', 'learned' or 'flat', or stream_code='learned'."
            )
        if kind == "coords":
            if not coord_dim:
                raise UsageError(
                    "pos_embed of a stream is 'coords', but its stem gives no coordinates: take 'sincos', or in a "
                    "decoder set coord_dim."
                )
            self.grid, self.positions = tuple(grid), kind
            self.pos_embed: Any = nn.Sequential(nn.Linear(coord_dim, 128), nn.GELU(), nn.Linear(128, width))
            return
        own = 0 if code is None else len(code)
        add_positions(self, kind, width - own, grid)
        if code is not None:  # in one table, so that it moves with the stream and is resized with it
            table: Any = torch.cat([self.pos_embed.detach(), code.expand(1, self.pos_embed.shape[1], -1)], dim=2)
            self.pos_embed = nn.Parameter(table) if kind == "learned" else table

    def forward(self, grid: tuple[int, ...], coords: Tensor | None = None) -> Tensor | None:
        """Return the positions (1, L, D) of a grid, or (B, L, D) of coordinates; None if there are none.

        Args:
            grid: patches along each axis.
            coords: (B, L, k), read by `pos_embed="coords"` alone.

        Raises:
            UsageError: no coordinates where they are needed.
        """
        if self.positions == "coords":
            if coords is None:
                raise UsageError(
                    "Positions are of coordinates (pos_embed='coords'), but the layout of the batch has none: use a "
                    "stem that gives them, such as PointStem, or other positions."
                )
            return self.pos_embed(coords)
        return positions_of(self, grid)


class StreamPositions(nn.Module):
    """Positions of several streams, and what marks each of them.

    Args:
        kind: of all streams, or of each; see `Positions`.
        width: D.
        grids: of the streams, in the order of their codes.
        code: "none"; "concat", the last `code_dim` channels are a fixed sine of the number of the stream (SatMAE); or
            "learned", a vector for each stream is added (MultiMAE).
        code_dim: Dc of "concat".
        num_prefix_tokens: T; with "concat" the prefix has a code of its own, after those of the streams, as in
            SatMAE's decoder. With 0 it has no position.
        coord_dims: k of the streams that have coordinates.

    Raises:
        UsageError: an unknown code, or a `kind` that does not say what each stream has.
    """

    prefix: Tensor

    def __init__(
        self,
        kind: StreamPosEmbed | Mapping[str, StreamPosEmbed],
        width: int,
        grids: Mapping[str, Sequence[int]],
        code: StreamCode = "none",
        code_dim: int = 0,
        num_prefix_tokens: int = 0,
        coord_dims: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        _check(kind, width, grids, code, code_dim)
        number = len(grids) + (num_prefix_tokens > 0)
        codes: Any = sincos_pos_embed(code_dim, (number,))[0] if code == "concat" else [None] * number
        self.tables = nn.ModuleDict()
        self.codes = nn.ParameterDict()
        for (name, grid), own in zip(grids.items(), codes, strict=False):
            one = kind[name] if isinstance(kind, Mapping) else kind
            self.tables[name] = Positions(one, width, grid, own, (coord_dims or {}).get(name, 0))
            if code == "learned":
                self.codes[name] = nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02)
        tables: dict[str, Any] = dict(self.tables.items())
        _check_ranks({name: table.grid for name, table in tables.items() if table.positions in ROTARY})
        prefix = torch.zeros(1, num_prefix_tokens, width)
        if code == "concat" and num_prefix_tokens:
            prefix[..., width - code_dim :] = codes[-1]
        self.register_buffer("prefix", prefix, persistent=False)

    def forward(self, grids: Mapping[str, tuple[int, ...]], coords: Tensor | None = None) -> Tensor | None:
        """Return the positions (1, T + L, D), or (B, T + L, D) where some depend on coordinates; None without any.

        Args:
            grids: of the streams, in the order of the tokens; a subset of the streams will do.
            coords: (B, L, k), of all tokens.
        """
        starts, parts = 0, []
        for name, grid in grids.items():
            length = torch.Size(grid).numel()
            parts.append(self._of(name, grid, None if coords is None else coords[:, starts : starts + length]))
            starts += length
        if all(part is None for part in parts):
            return None
        batch = max(1 if part is None else len(part) for part in parts)
        filled = [self.prefix, *(self._filled(part, grid) for part, grid in zip(parts, grids.values(), strict=True))]
        return torch.cat([part.expand(batch, -1, -1) for part in filled], dim=1)

    def rope(self, grids: Mapping[str, tuple[int, ...]], head_dim: int, device: torch.device | None = None) -> Any:
        """Return the rotary positions (1, 1, L, W) of all tokens, a `Rope`; None where no stream has any.

        All streams cover the same extent, so that tokens of the same place have the same angles, in cells of the finest
        grid. Tokens of streams without rotary positions are not turned.

        Args:
            grids: of the streams, in the order of the tokens.
            head_dim: channels of a head.
            device: of the tokens.

        Raises:
            UsageError: heads too narrow for so many axes.
        """
        tables: Any = {name: self.tables[self._checked_name(name)] for name in grids}
        turned = [name for name, table in tables.items() if table.positions in ROTARY]
        if not turned:
            return None
        trained: Any = [table.grid for table in self.tables.values() if table.positions in ROTARY]
        own = tuple(map(max, zip(*trained, strict=True)))
        ropes = {name: rotary(grid_coords(grids[name], own, device), head_dim) for name in turned}
        like = ropes[turned[0]]
        parts = [ropes[name] if name in ropes else like.still(torch.Size(grids[name]).numel()) for name in grids]
        cos, sin = (torch.cat(values, dim=2) for values in ([p.cos for p in parts], [p.sin for p in parts]))
        return Rope(cos, sin, like.sections)

    def _of(self, name: str, grid: tuple[int, ...], coords: Tensor | None) -> Tensor | None:
        name = self._checked_name(name)
        table: Any = self.tables[name]
        positions = table(grid, None if coords is None or table.positions != "coords" else coords)
        if name not in self.codes:
            return positions
        code = self.codes[name]
        return code.expand(-1, torch.Size(grid).numel(), -1) if positions is None else positions + code

    def _checked_name(self, name: str) -> str:
        """Return the name of a stream; the only one may be called otherwise in a plan.

        Raises:
            UsageError: there is no such stream.
        """
        if name not in self.tables and len(self.tables) > 1:
            raise UsageError(f"There is no stream {name!r}, only {', '.join(self.tables)}: name one of these.")
        return name if name in self.tables else next(iter(self.tables))

    def _filled(self, part: Tensor | None, grid: tuple[int, ...]) -> Tensor:
        if part is not None:
            return part
        return self.prefix.new_zeros(1, torch.Size(grid).numel(), self.prefix.shape[2])

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: tables and codes."""
        return {name for name, _ in self.named_parameters() if name.startswith("codes.") or _is_table(name)}


def _check_ranks(grids: Mapping[str, Sequence[int]]) -> None:
    if len({len(grid) for grid in grids.values()}) > 1:
        axes = ", ".join(f"{len(grid)} of {name}" for name, grid in grids.items())
        raise UsageError(
            f"pos_embed is 'rotary' for streams of different numbers of axes ({axes}), whose angles cannot be "
            "compared: take 'rotary' for streams of as many axes, and 'sincos' or another table for the others."
        )


def _is_table(name: str) -> bool:
    return name.rpartition(".")[2].startswith("pos_embed")


def _check(kind: Any, width: int, grids: Mapping[str, Any], code: str, code_dim: int) -> None:
    if code not in ("none", "concat", "learned"):
        raise UsageError(f"stream_code is {code!r}, but must be 'none', 'concat' or 'learned'.")
    if (code == "concat") != (code_dim > 0) or code_dim >= width:
        raise UsageError(
            f"stream_code is {code!r} and code_dim is {code_dim}, but 'concat' needs the number of channels that hold "
            f"the code, from 2 to {width - 2}, and the others need none."
        )
    if "rotary_box" in (kind.values() if isinstance(kind, Mapping) else (kind,)):
        raise UsageError("pos_embed is 'rotary_box', which places one picture in a box: take 'rotary' for streams.")
    if isinstance(kind, Mapping) and set(kind) != set(grids):
        raise UsageError(f"pos_embed names {', '.join(kind)}, but the streams are {', '.join(grids)}: name each once.")
