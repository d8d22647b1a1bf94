"""Renames tensors by rules that work in both directions."""

import re
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from maetool.errors import UsageError

# The regular expression of each field in a rule.
_FIELDS = {"i": r"\d+", "p": "weight|bias", "rest": ".+"}


class KeyMap:
    """Pairs of names, another project's and maetool's, such as `"blocks.{i}.{rest}": "encoder.blocks.{i}.{rest}"`.

    `{i}` stands for a number, `{p}` for "weight" or "bias", `{rest}` for anything. The first matching rule applies. A
    rule works in both directions, so the map and its inverse cannot differ.

    Args:
        rules: the other project's names to maetool's.
    """

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._to_ours = [(_pattern(other), own) for other, own in rules.items()]
        self._to_theirs = [(_pattern(own), other) for other, own in rules.items()]

    def own_name(self, name: str) -> str | None:
        """Return maetool's name of a tensor that the other project calls `name`; None if no rule matches."""
        return _renamed(name, self._to_ours)

    def other_name(self, name: str) -> str | None:
        """Return the other project's name of a tensor that maetool calls `name`; None if no rule matches."""
        return _renamed(name, self._to_theirs)

    def ours(self, name: str) -> str | None:
        """The old name of `own_name`."""
        _warn_of_old_name("ours", "own_name")
        return self.own_name(name)

    def theirs(self, name: str) -> str | None:
        """The old name of `other_name`."""
        _warn_of_old_name("theirs", "other_name")
        return self.other_name(name)

    def to_ours(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a state dict under maetool's names; tensors without a matching rule keep their names."""
        return {self.own_name(name) or name: value for name, value in state.items()}

    def to_theirs(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a state dict under the other project's names; tensors without a matching rule are left out."""
        named = ((self.other_name(name), value) for name, value in state.items())
        return {name: value for name, value in named if name is not None}


def with_aliases(state: Mapping[str, Tensor], aliases: Mapping[str, str]) -> dict[str, Tensor]:
    """Return a state dict with alternative names of a format replaced.

    Args:
        state: weights by name.
        aliases: regular expression to replacement, applied in order to every name.
    """
    names = {name: name for name in state}
    for pattern, new in aliases.items():
        names = {name: re.sub(pattern, new, now) for name, now in names.items()}
    return {names[name]: value for name, value in state.items()}


def _warn_of_old_name(old: str, new: str) -> None:
    sentence = f"KeyMap.{old} is now KeyMap.{new}; maetool 0.3.0 removes the old name."
    warnings.warn(sentence, DeprecationWarning, stacklevel=3)


def _pattern(rule: str) -> re.Pattern[str]:
    escaped = re.split(r"\{(\w+)\}", rule)  # text and names of fields in turn
    parts = [f"(?P<{part}>{_FIELDS[part]})" if i % 2 else re.escape(part) for i, part in enumerate(escaped)]
    return re.compile("".join(parts))


def _renamed(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    matches = ((pattern.fullmatch(name), new) for pattern, new in rules)
    return next((new.format(**match.groupdict()) for match, new in matches if match), None)


def fuse_qkv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict in which `attn.q`, `attn.k` and `attn.v` are fused into `attn.qkv`, as in maetool and timm.

    Where no block has a bias of keys, as in transformers' BEiT, it is zero.

    Raises:
        UsageError: one of the three is missing.
    """
    fused = {}
    without_keys = not any(name.endswith(".attn.k.bias") for name in state)
    for name, value in state.items():
        match = re.fullmatch(r"(.+\.attn\.)([qkv])(\.\w+)", name)
        if not match:
            fused[name] = value
        elif match[2] == "q":
            parts = [state.get(f"{match[1]}{which}{match[3]}") for which in "qkv"]
            if without_keys and match[3] == ".bias":
                parts[1] = torch.zeros_like(value)
            present = [part for part in parts if part is not None]
            if len(present) < len(parts):
                raise UsageError(
                    f"The checkpoint holds {name} without the keys and values: it is incomplete, so copy or export "
                    "it again."
                )
            fused[f"{match[1]}qkv{match[3]}"] = torch.cat(present)
    return fused


def split_qkv(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with each `attn.qkv` split into three: the inverse of `fuse_qkv`."""
    split = {}
    for name, value in state.items():
        if ".attn.qkv." not in name:
            split[name] = value
            continue
        for which, part in zip("qkv", value.chunk(3), strict=True):
            split[name.replace(".attn.qkv.", f".attn.{which}.")] = part
    return split
