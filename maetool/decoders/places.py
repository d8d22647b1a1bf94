"""What decoders on places share: positions of a grid or of streams, and one output map or one for each stream."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from maetool.errors import UsageError
from maetool.layers import call_linear
from maetool.layers.positions import add_positions, positions_of, rope_of, tables_of
from maetool.layers.stream_positions import StreamCode, StreamPosEmbed, StreamPositions
from maetool.ops.geometry import rank_of, to_size
from maetool.ops.rotary import Rope
from maetool.structures import MaskPlan


class StreamMaps(nn.Module):
    """A linear map for each stream; predictions narrower than the widest are padded with zeros.

    Args:
        embed_dim: E.
        out_dims: name of each stream to its P.
    """

    def __init__(self, embed_dim: int, out_dims: Mapping[str, int]) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({name: nn.Linear(embed_dim, number) for name, number in out_dims.items()})
        self.out_dim = max(out_dims.values())

    def forward(self, x: Tensor, plan: MaskPlan) -> Tensor:
        """Return the predictions (B, M, P) of tokens x (B, M, E) at `plan.ids_predict`, each by its stream's map.

        Raises:
            UsageError: a stream without a map.
        """
        out: Any = 0.0
        for name, place in plan.layout.slices.items():
            if name not in self.maps:
                named = ", ".join(self.maps)
                raise UsageError(f"The stream {name} has no width in out_dims, which names {named}: add it.")
            own = (plan.ids_predict >= place.start) & (plan.ids_predict < place.stop)
            pred = call_linear(self.maps[name], x)
            # What another stream's map says is taken out, so that no gradient reaches it.
            out = out + torch.where(own[..., None], pad(pred, (0, self.out_dim - pred.shape[2])), 0.0)
        return out


class PlacedDecoder(nn.Module):
    """Base of the decoders whose tokens have positions, on one grid or on those of several streams.

    A subclass calls `_add_places` and `_add_output` while it is built, and `_places`, `_rope` and `_predict` after.
    """

    embed_dim: int
    num_prefix_tokens: int
    head_dim: int
    grid: tuple[int, ...]
    pos_embed: Tensor | None
    stream_positions: StreamPositions | None
    pred: nn.Module

    def _add_places(
        self,
        kind: StreamPosEmbed,
        grid: int | Sequence[int] | None,
        grids: Mapping[str, Sequence[int]] | None,
        code: StreamCode = "none",
        code_dim: int = 0,
        coord_dim: int = 0,
    ) -> None:
        self.stream_positions = None
        if grid is None and not grids:
            raise UsageError("A decoder needs the grid of its places: give grid, or grids for several streams.")
        if grid is not None and kind != "coords" and code == "none":
            own = to_size(grid, "grid", rank_of(grid))
            add_positions(self, kind, self.embed_dim, own, self.num_prefix_tokens)
            rope_of(self, own, self.head_dim)  # refuses heads that are too narrow
            return
        several: Any = grids or {"image": grid}
        self.pos_embed, self.positions = None, kind
        self.stream_positions = StreamPositions(
            kind,
            self.embed_dim,
            several,
            code,
            code_dim,
            self.num_prefix_tokens,
            dict.fromkeys(several, coord_dim),
        )
        self.stream_positions.rope(several, self.head_dim)  # refuses heads that are too narrow

    def _places(self, plan: MaskPlan) -> Tensor | None:
        """Return the positions (1, T + L, E), or (B, T + L, E), of all places; None where none are added."""
        if self.stream_positions is not None:
            return self.stream_positions(plan.layout.grids, plan.layout.coords)
        return positions_of(self, plan.grid, self.num_prefix_tokens)

    def _rope(self, plan: MaskPlan, device: torch.device) -> Rope | None:
        """Return the rotary positions of all places, the prefix first; None where there are none."""
        if self.stream_positions is not None:
            rope = self.stream_positions.rope(plan.layout.grids, self.head_dim, device)
            return None if rope is None else rope.with_prefix(self.num_prefix_tokens)
        return rope_of(self, plan.grid, self.head_dim, self.num_prefix_tokens, plan.mask, device)

    def _valid(self, plan: MaskPlan) -> Tensor | None:
        """Return which places, the prefix first, are no padding of the batch, bool (B, T + L); None is all."""
        valid = plan.layout.valid
        return None if valid is None else pad(valid, (self.num_prefix_tokens, 0), value=True)

    def _add_output(self, out_dim: int, out_dims: Mapping[str, int] | None) -> None:
        self.pred = StreamMaps(self.embed_dim, out_dims) if out_dims else nn.Linear(self.embed_dim, out_dim)

    def _predict(self, x: Tensor, plan: MaskPlan) -> Tensor:
        """Return the predictions (B, M, P) of tokens (B, M, E) at `plan.ids_predict`."""
        return self.pred(x, plan) if isinstance(self.pred, StreamMaps) else call_linear(self.pred, x)

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay: learned positions. MAE decays the mask token."""
        if self.stream_positions is None:
            return tables_of(self)
        return {f"stream_positions.{name}" for name in self.stream_positions.no_weight_decay()}


def check_no_groups(plan: MaskPlan, decoder: nn.Module) -> None:
    """Check that a plan predicts all together, for a decoder that can do nothing else.

    Raises:
        UsageError: it has groups.
    """
    if plan.group is not None:
        raise UsageError(
            f"The plan has groups that are predicted separately, but {type(decoder).__name__} predicts all together: "
            "use PredictorDecoder."
        )


def small_code(arguments: Mapping[str, Any]) -> dict[str, int]:
    """Return the small form of the code of the streams, {} for decoders without one.

    Args:
        arguments: those of the decoder at full size.
    """
    return {"code_dim": min(4, arguments["code_dim"])} if arguments.get("code_dim") else {}


def check_prefix(number: int, predict_prefix: bool) -> None:
    """Check that there is a prefix to predict.

    Args:
        number: T, tokens of the encoder's prefix.
        predict_prefix: whether the decoder predicts them.

    Raises:
        UsageError: it does, and there are none.
    """
    if predict_prefix and not number:
        raise UsageError("predict_prefix is True, but the encoder has no class token to predict: set it to False.")


def take_seen(tokens: Tensor, plan: MaskPlan, num_prefix_tokens: int, predicted_prefix: int) -> Tensor:
    """Return the tokens to predict of what the encoder saw, the prefix first, (B, predicted_prefix + M, D).

    Args:
        tokens: (B, T + V, D), prefix first.
        plan: of the batch; the patches to predict are visible.
        num_prefix_tokens: T.
        predicted_prefix: how many of the T prefix tokens are predicted.
    """
    patches = plan.take_seen(tokens[:, num_prefix_tokens:])  # (B, M, D)
    return torch.cat([tokens[:, :predicted_prefix], patches], dim=1) if predicted_prefix else patches
