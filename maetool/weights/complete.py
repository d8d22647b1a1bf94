"""Checks that weights are those of an encoder and not of a similar one."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from maetool.errors import UsageError

_SHOWN = 4  # names of a kind in a message
# What may begin untrained: pretraining that drops patches has no mask token, and relative positions begin at zero.
_MAY_BEGIN = re.compile(r"mask_token|rel_pos|relative_position")
# A scale of ones changes nothing, as UPerNet's recipes begin with on encoders that have none.
_SCALE = re.compile(r"\.(ls\d\.gamma|layer_scale|gamma_\d)")
# What the other tensors of an encoder were trained with; relative positions of detectors are documented as left out.
_CARRIES = re.compile(r"encoder\.(blocks|layers|stages|patch_embed|norm_pre|reg_token)\b(?!.*rel_pos)")


def named(names: Sequence[str]) -> str:
    """Return the first names in brackets and the number of further ones; empty without names."""
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" ({', '.join(names[:_SHOWN])}{more})"


def check_complete(
    missing: Sequence[str],
    unused: Sequence[str],
    weights: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    source: str | Path,
    remedy: str = "",
) -> None:
    """Check that an encoder lacks no tensor of a file, nor the file one of the encoder, however small they are.

    Args:
        missing: the model's names of tensors of the encoder that the file does not hold; mask tokens, relative
            positions and layer scales of ones may be missing.
        unused: the file's names of tensors that the model has no place for; only those of blocks, of the patch
            embedding and of registers matter, not class tokens, final norms, heads and counters.
        weights: the tensors of the file.
        own: the tensors of the model.
        source: the file, for the message.
        remedy: another way than a fitting file or config.

    Raises:
        UsageError: the file holds another architecture.
    """
    lacking = [name for name in missing if not _MAY_BEGIN.search(name) and not _is_neutral(name, own)]
    left = [name for name in unused if _CARRIES.match(name) and _is_trained(weights[name])]
    kinds = {"missing": lacking, "unused": left}
    counts = [f"{len(names)} tensors are {kind}{named(names)}" for kind, names in kinds.items() if names]
    if counts:
        raise UsageError(
            f"The encoder of {source} is of another architecture than the config's: {' and '.join(counts)}. Pass a "
            f"checkpoint of this encoder, or change the encoder to that of the checkpoint{remedy}."
        )


def _is_trained(value: Tensor) -> bool:
    return value.is_floating_point() and value.numel() > 0  # registers may be none


def _is_neutral(name: str, own: Mapping[str, Tensor]) -> bool:
    return bool(_SCALE.search(name)) and name in own and bool((own[name] == 1).all())
