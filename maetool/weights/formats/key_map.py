"""Names of tensors, renamed by rules that are read in both directions."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from maetool.errors import UsageError

# What a field of a rule stands for.
_FIELDS = {"i": r"\d+", "p": "weight|bias", "rest": ".+"}


class KeyMap:
    """Pairs of names, theirs and ours, such as `"blocks.{i}.{rest}": "encoder.blocks.{i}.{rest}"`.

    `{i}` stands for a number, `{p}` for "weight" or "bias", `{rest}` for anything. Of several rules that fit a name the
    first one counts. A rule is read in both directions, so that the map and its inverse cannot differ.

    Args:
        rules: name there to name here.
    """

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._to_ours = [(_pattern(theirs), ours) for theirs, ours in rules.items()]
        self._to_theirs = [(_pattern(ours), theirs) for theirs, ours in rules.items()]

    def ours(self, name: str) -> str | None:
        """Return our name of a tensor that is called `name` there; None where no rule fits."""
        return _renamed(name, self._to_ours)

    def theirs(self, name: str) -> str | None:
        """Return the name there of a tensor that is called `name` here; None where no rule fits."""
        return _renamed(name, self._to_theirs)

    def to_ours(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a state dict under our names; a tensor that no rule fits keeps its name, so that loading names it."""
        return {self.ours(name) or name: value for name, value in state.items()}

    def to_theirs(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a state dict under their names; a tensor that no rule fits has no place there and is left out."""
        named = ((self.theirs(name), value) for name, value in state.items())
        return {name: value for name, value in named if name is not None}


def with_aliases(state: Mapping[str, Tensor], aliases: Mapping[str, str]) -> dict[str, Tensor]:
    """Return a state dict with older or newer names of one format replaced: regular expression to what replaces it."""
    names = {name: name for name in state}
    for pattern, new in aliases.items():
        names = {name: re.sub(pattern, new, now) for name, now in names.items()}
    return {names[name]: value for name, value in state.items()}


def _pattern(rule: str) -> re.Pattern[str]:
    escaped = re.split(r"\{(\w+)\}", rule)  # text and names of fields in turn
    parts = [f"(?P<{part}>{_FIELDS[part]})" if i % 2 else re.escape(part) for i, part in enumerate(escaped)]
    return re.compile("".join(parts))


def _renamed(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    found = ((pattern.fullmatch(name), new) for pattern, new in rules)
    return next((new.format(**match.groupdict()) for match, new in found if match), None)


def fuse_qkv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict in which the maps `attn.q`, `attn.k` and `attn.v` are one, `attn.qkv`, as here and in timm.

    Raises:
        UsageError: one of the three is missing.
    """
    fused = {}
    for name, value in state.items():
        match = re.fullmatch(r"(.+\.attn\.)([qkv])(\.\w+)", name)
        if not match:
            fused[name] = value
        elif match[2] == "q":
            parts = [state.get(f"{match[1]}{which}{match[3]}") for which in "qkv"]
            present = [part for part in parts if part is not None]
            if len(present) < len(parts):
                raise UsageError(
                    f"The checkpoint holds {name}, but not the keys and values beside it: it is incomplete."
                )
            fused[f"{match[1]}qkv{match[3]}"] = torch.cat(present)
    return fused


def split_qkv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict in which each `attn.qkv` is three maps: the inverse of `fuse_qkv`."""
    split = {}
    for name, value in state.items():
        if ".attn.qkv." not in name:
            split[name] = value
            continue
        for which, part in zip("qkv", value.chunk(3), strict=True):
            split[name.replace(".attn.qkv.", f".attn.{which}.")] = part
    return split
