"""One transformer over several streams of tokens."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from maetool.annotations import Count, FromZero, Positive
from maetool.errors import UsageError
from maetool.layers import init_as_mae
from maetool.layers.attention import QkvBias
from maetool.layers.norm import NormKind
from maetool.layers.positions import with_positions
from maetool.layers.stream_positions import StreamCode, StreamPosEmbed, StreamPositions
from maetool.ops.patches import take_tokens
from maetool.ops.rotary import Rope
from maetool.registry import ENCODERS, STEMS
from maetool.structures import Layout, MaskPlan
from maetool.structures.layout import ONLY, joined

from .facts import SeesBlank, check_choice, check_layout, layer_in_blocks
from .trunk import TAKES, Trunk


@ENCODERS.register_module()
class StreamTransformer(Trunk):
    """Stems, each of one input or several streams of one, and a ViT over all their tokens, which share one index.

    The tokens of all streams are embedded, positions are added to those that enter, and the others are dropped. A batch
    is a mapping from the names of the stems to tensors; with one stem, it may be that tensor.

    Args:
        stems: name to the config of a stem, see `maetool.stems`. A stem of one stream gives it its name, such as
            {"rgb": PatchStem, "depth": PatchStem}; one of several, such as `GroupStem`, names them itself.
        embed_dim: D, also of the stems.
        depth: number of blocks.
        num_heads: attention heads of a block.
        mlp_ratio: width of a block's hidden layer over D.
        drop_path_rate: drop path of the last block; it rises linearly from 0.
        pos_embed: of all streams or of each, see `maetool.layers.stream_positions.Positions`.
        pos_every_block: add the positions before each block, and not only before the first (Point-MAE).
        stream_code: what marks the stream of a token: "none"; "concat", the last `code_dim` channels of its position
            (SatMAE); or "learned", a vector that is added.
        code_dim: channels of "concat".
        sees, layer_scale, final_norm, class_token, num_registers, qkv_bias, qk_norm, norm_layer, pre_norm: see
            `VisionTransformer`.

    Attributes:
        grids: tokens of each stream along each axis, as trained.
        streams: of each stream, `patch_size`, `in_chans` and `grid`; an encoder of one stream has these three itself.
        image_shape: C and the sides of the images that the only stem reads; None for ids, points or several stems.

    Raises:
        UsageError: no stems, two streams of one name, or choices that there are not.
    """

    part_registries: ClassVar = {"stems": STEMS}
    streams: dict[str, Any]

    def __init__(
        self,
        stems: Mapping[str, Any],
        embed_dim: Count = 768,
        depth: Count = 12,
        num_heads: Count = 12,
        mlp_ratio: Positive = 4.0,
        drop_path_rate: float = 0.0,
        pos_embed: StreamPosEmbed | Mapping[str, StreamPosEmbed] = "sincos",
        pos_every_block: bool = False,
        stream_code: StreamCode = "none",
        code_dim: FromZero = 0,
        sees: SeesBlank = "visible",
        layer_scale: float | None = None,
        final_norm: bool = True,
        class_token: bool = True,
        num_registers: FromZero = 0,
        qkv_bias: QkvBias = True,
        qk_norm: bool = False,
        norm_layer: NormKind = "layer",
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        check_choice("sees", sees, self.can_see)
        self.sees, self.pos_every_block = sees, pos_every_block
        _check_names(stems)
        self.stems = nn.ModuleDict(
            {name: STEMS.build(stem, default_args={"embed_dim": embed_dim}) for name, stem in stems.items()}
        )
        facts = self._facts()
        self._add_prefix(embed_dim, class_token, num_registers)
        coords = {s: stem.coord_dim for name, stem in self._named() for s in _names(name, stem) if stem.coord_dim}
        self.positions = StreamPositions(pos_embed, embed_dim, self.grids, stream_code, code_dim, coord_dims=coords)
        options = (layer_scale, qkv_bias, qk_norm, norm_layer, pre_norm, final_norm)
        self._add_blocks(embed_dim, depth, num_heads, mlp_ratio, drop_path_rate, *options)
        self.positions.rope(self.grids, self.head_dim)  # refuses heads that are too narrow
        self._say(facts)
        init_as_mae(self)

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for name, stem in self._named():
            own = dict(zip(_names(name, stem), stem.streams.values(), strict=True))
            _check_names(own)
            if taken := set(own) & set(facts):
                raise UsageError(f"Two stems have a stream called {min(taken)!r}: rename one of them.")
            facts |= own
        if not facts:
            raise UsageError("StreamTransformer has no stems: name at least one, such as stems.rgb=PatchStem.")
        self.grids = {name: tuple(each["grid"]) for name, each in facts.items()}
        return facts

    def _say(self, facts: Mapping[str, Any]) -> None:
        """State the facts of the streams, or of the only one."""
        stems: list[Any] = list(self.stems.values())
        stem, *others = stems
        self.image_shape = None if others or not hasattr(stem, "img_size") else (stem.in_chans, *stem.img_size)
        if len(facts) > 1:
            self.streams = dict(facts)
            return
        (fact,) = facts.values()
        self.patch_size = self.stride = fact["patch_size"]
        self.in_chans, self.grid = fact["in_chans"], fact["grid"]
        covered = tuple(side * patch for side, patch in zip(self.grid, self.patch_size, strict=True))
        self.img_size = getattr(stem, "img_size", covered)

    def _named(self) -> list[tuple[str, Any]]:
        return list(self.stems.items())

    def forward(
        self, batch: Tensor | Mapping[str, Tensor], plan: MaskPlan | None = None, layers: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """Return tokens (B, T + V, D), the prefix first: of what enters, or (B, T + L, D) if it sees all.

        Args:
            batch: name of each stem to its input.
            plan: what is visible, over the layout of the batch; None hides nothing.
            layers: return a list instead, the raw tokens of these layers; see `maetool.layers.run_blocks`.

        Raises:
            UsageError: a stem without input, an input that does not fit, or a plan for another layout.
        """
        x, keep, rope, positions = self._embed(batch, plan)
        return self._run(x, layers, keep, rope, positions)

    def _embed(self, batch: Any, plan: MaskPlan | None) -> tuple[Tensor, Tensor | None, Rope | None, Tensor | None]:
        """Return what enters the first block (B, T + V, D), and the context of all.

        It is which of the V tokens are no padding, rotary positions, and what (B, T + V, D) is added before each block.
        """
        layout = self.layout_of(batch)
        if plan is not None:
            check_layout(plan, layout, TAKES[self.sees])
        positions = self.positions(layout.grids, layout.coords)  # (B or 1, L, D)
        rope = self._rope(layout, plan)
        x, keep = self._tokens(batch, layout, plan), layout.valid
        if plan is not None and self.sees == "all":
            x = torch.where(plan.mask[..., None], self.mask_token.to(x.dtype), x)
        elif plan is not None:
            x, keep = self._place_masks(plan.keep(x), plan), _both(plan, keep)
            positions = None if positions is None else take_tokens(positions.expand(len(x), -1, -1), plan.ids_keep)
        if self.pos_every_block and positions is not None:
            return self._enter(x, None), keep, rope, pad(positions, (0, 0, self.num_prefix_tokens, 0))
        return self._enter(with_positions(self, x, positions), None), keep, rope, None

    def _rope(self, layout: Layout, plan: MaskPlan | None) -> Rope | None:
        rope = self.positions.rope(layout.grids, self.head_dim, next(self.parameters()).device)
        if rope is None:
            return None
        rope = rope if plan is None or self.sees == "all" else rope.take(plan.ids_keep)
        return rope.with_prefix(self.num_prefix_tokens)

    def tokens(self, batch: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return the embedding (B, L, D) of every place of `batch`, before positions.

        Raises:
            UsageError: a stem without input, one that makes tokens of another width, or streams of other lengths.
        """
        return self._in_a_row({name: stem(self._input(batch, name)) for name, stem in self._named()})

    def _tokens(self, batch: Any, layout: Layout, plan: MaskPlan | None) -> Tensor:
        """Return the tokens (B, L, D); of what the plan removes, without a look at it where the stem can do that.

        So not even a NaN there reaches a gradient.
        """
        parts = {}
        for name, stem in self._named():
            own, options = [layout.slices[stream] for stream in _names(name, stem)], {}
            if plan is not None and "hidden" in signature(stem.forward).parameters:
                options = {"hidden": plan.mask[:, own[0].start : own[-1].stop]}
            parts[name] = stem(self._input(batch, name), **options)
        return self._in_a_row(parts)

    def _in_a_row(self, parts: Mapping[str, Tensor]) -> Tensor:
        for name, part in parts.items():
            if part.shape[2] != self.embed_dim:
                raise UsageError(
                    f"The stem {name} makes tokens of width {part.shape[2]}, but the encoder's are {self.embed_dim} "
                    f"wide: set stems.{name}.embed_dim to that, or annotate it as int to have it filled in."
                )
        first, *others = parts.values()
        if any(len(part) != len(first) for part in others):
            sizes = ", ".join(f"{len(part)} of {name}" for name, part in parts.items())
            raise UsageError(f"The streams of a batch differ in their numbers of samples ({sizes}): give equally many.")
        return torch.cat(list(parts.values()), dim=1)

    def split(self, batch: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the part of a batch that each stream is of, for targets."""
        parts: dict[str, Tensor] = {}
        for name, stem in self._named():
            own = stem.split(self._input(batch, name))
            parts |= dict(zip(_names(name, stem), own.values(), strict=True))
        return parts

    def attention(self, batch: Tensor | Mapping[str, Tensor], layers: Sequence[int] | None = None) -> Any:
        """Return the attention of the last block in all of `batch`; `layers` as in `VisionTransformer.attention`."""
        x, keep, rope, positions = self._embed(batch, None)
        return self._attention(x, keep, rope, layers, positions)

    def layout_of(self, batch: Tensor | Mapping[str, Tensor]) -> Layout:
        """Return where the tokens of a batch lie: all streams, in the order of the stems.

        Raises:
            UsageError: a stem without input, or an input that does not fit.
        """
        layouts = [(name, stem, stem.layout_of(self._input(batch, name))) for name, stem in self._named()]
        grids = {
            stream: grid
            for name, stem, layout in layouts
            for stream, grid in zip(_names(name, stem), layout.grids.values(), strict=True)
        }
        parts = [layout for _, _, layout in layouts]
        return Layout(grids, joined(parts, "coords", float("nan")), joined(parts, "valid", True))

    def grid_of(self, batch: Tensor | Mapping[str, Tensor]) -> tuple[int, ...]:
        """Return the grid of the only stream of `batch`.

        Raises:
            UsageError: there are several.
        """
        return self.layout_of(batch).grid

    def _input(self, batch: Any, name: str) -> Tensor:
        if isinstance(batch, Tensor) and len(self.stems) == 1:
            return batch
        if not isinstance(batch, Mapping) or name not in batch:
            actual = ", ".join(map(str, batch)) if isinstance(batch, Mapping) else "one tensor"
            raise UsageError(f"The encoder reads {', '.join(self.stems)}, but got {actual}: give each of them.")
        return cast(Tensor, batch[name])

    def layer_of(self, name: str) -> int:
        """Return the layer of parameter `name`: 0 before the blocks, i + 1 in `blocks.i`, -1 after, with the head."""
        return layer_in_blocks(name, ("cls_token", "reg_token", "mask_token", "stems", "positions", "norm_pre"))

    def no_weight_decay(self) -> set[str]:
        """Return the parameters without weight decay, beside biases and norms: positions, and what the stems name."""
        own = {f"positions.{name}" for name in self.positions.no_weight_decay()}
        for name, stem in self._named():
            own |= {f"stems.{name}.{each}" for each in getattr(stem, "no_weight_decay", set)()}
        return own

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`."""
        return {"embed_dim": 16 * arguments["num_heads"], "depth": 2, "code_dim": min(4, arguments["code_dim"])}


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not isinstance(name, str) or not name or "." in name or hasattr(nn.ModuleDict, name):
            raise UsageError(
                f"A stream is called {name!r}, which cannot be the name of a module: use a name without dots that is "
                "no attribute of torch's modules, such as 'rgb'."
            )


def _names(name: str, stem: Any) -> list[str]:
    """Return the names of the streams of a stem: its own, or that of the stem for the only one."""
    return [name] if list(stem.streams) == [ONLY] else list(stem.streams)


def _both(plan: MaskPlan, valid: Tensor | None) -> Tensor | None:
    """Return which tokens (B, V) that enter are no padding of the plan or of the layout, whose places are (B, L)."""
    if valid is None:
        return plan.keep_valid
    valid = valid.gather(1, plan.ids_keep)
    return valid if plan.keep_valid is None else valid & plan.keep_valid
