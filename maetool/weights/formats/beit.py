"""BEiT, BEiT v2 and Data2Vec, which timm's model of the same design computes: relative positions in every block."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.pos_embed import count_offsets, square_window

_TABLE = "relative_position_bias_table"
_SHARED, _OWN = f"encoder.rel_pos_bias.{_TABLE}", f"encoder.blocks.0.attn.{_TABLE}"
_KNOWN = re.compile(
    r"encoder\.(cls_token|mask_token|pos_embed|patch_embed\.proj\.(weight|bias)|norm\.(weight|bias)"
    rf"|rel_pos_bias\.{_TABLE}|blocks\.\d+\.(attn\.({_TABLE}|[qv]_bias)|ls[12]\.gamma"
    r"|(norm1|norm2|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.(weight|bias)))"
)
_OUTSIDE = 3  # rows of a table that belong to the class token


def is_beit(weights: Mapping[str, Tensor]) -> bool:
    """Return whether weights under maetool's names are those of a ViT with tables of relative positions."""
    return _SHARED in weights or _OWN in weights


def describe_beit(
    weights: Mapping[str, Tensor], source: str, grid: Sequence[int] | None = None, num_heads: int | None = None
) -> dict[str, Any]:
    """Return the config of the `TimmEncoder` that computes what BEiT does.

    Args:
        weights: weights under the names of `VisionTransformer`, with BEiT's for relative positions.
        source: their file, for messages.
        grid: patches along both axes, believed if it fits the tables; else a square.
        num_heads: not read; the tables have a column for each head.

    Raises:
        UsageError: something that timm's BEiT has not, or tables for no square while no grid fits.
    """
    known = (name for name in weights if _KNOWN.fullmatch(name) or name.endswith(".relative_position_index"))
    strange = sorted(name for name in weights.keys() - {*known} if name.startswith("encoder."))
    if strange or "encoder.cls_token" not in weights:
        raise UsageError(
            f"{source} has relative positions as BEiT has them, but is none ({(strange or ['no encoder.cls_token'])[0]}"
            "): pass a config of its encoder."
        )
    table, kernel = weights.get(_SHARED, weights.get(_OWN)), weights["encoder.patch_embed.proj.weight"]
    assert table is not None, "see is_beit"
    offsets = len(table) - _OUTSIDE
    fits = grid is not None and len(grid) == 2 and count_offsets(tuple(grid)) == offsets
    cells = tuple(grid) if fits and grid else square_window(offsets)
    if cells is None:
        raise UsageError(
            f"{source} has relative positions of {offsets} offsets, which is no square of patches, and does not record "
            "the grid: pass the img_size that it was trained with."
        )
    width, channels, *patch = kernel.shape
    scale = weights.get("encoder.blocks.0.ls1.gamma")
    blocks = {match[1] for name in weights if (match := re.match(r"encoder\.blocks\.(\d+)\.", name))}
    return {
        "type": "TimmEncoder",
        "name": "beit_base_patch16_224",
        "img_size": tuple(c * p for c, p in zip(cells, patch, strict=True)),
        "patch_size": tuple(patch),
        "in_chans": channels,
        "embed_dim": width,
        "depth": len(blocks),
        "num_heads": table.shape[1],
        "final_norm": "encoder.norm.weight" in weights,
        "options": {
            "init_values": 0.0 if scale is None else 0.1,
            "mlp_ratio": len(weights["encoder.blocks.0.mlp.fc1.weight"]) / width,
            "qkv_bias": any(name.endswith(("q_bias", "qkv.bias")) for name in weights),
            "use_abs_pos_emb": "encoder.pos_embed" in weights,
            "use_rel_pos_bias": _OWN in weights,
            "use_shared_rel_pos_bias": _SHARED in weights,
        },
    }


def from_plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of a `VisionTransformer` under the names of timm's BEiT and EVA, if their keys have no bias.

    Layer scales are `gamma_1` and `gamma_2`, and the biases of queries and values are apart.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.endswith("attn.qkv.bias") and not value.chunk(3)[1].count_nonzero():
            queries, _, values = value.chunk(3)
            renamed |= {name.replace("qkv.bias", "q_bias"): queries, name.replace("qkv.bias", "v_bias"): values}
        else:
            renamed[re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", name)] = value
    return renamed
