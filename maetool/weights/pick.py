"""Picks one of several models in a checkpoint: by the key that it is stored under, or by the prefix of its names."""

from collections.abc import Mapping
from typing import Any

from maetool.errors import UsageError

from .unwrap import at, is_weight, place_of, sets_in

_SHOWN = 6  # names in a message


def pick(state: Mapping[str, Any], source: Any, key: str | None = None, prefix: str | None = None) -> dict[str, Any]:
    """Return a checkpoint with the chosen weights alone, as `state_dict`, and with its `meta`.

    Args:
        state: the result of `read_checkpoint`.
        source: its file, for messages.
        key: keys of the dictionaries that lead to the weights, joined by dots, such as "teacher" or
            "checkpoint.model_ema"; None leaves the choice to `maetool.weights.unwrap`.
        prefix: what the names of the chosen weights begin with, and lose, such as "student.backbone."; a dot may be
            missing at its end.

    Raises:
        UsageError: no weights are there; the message names those of the file.
    """
    if key is None and prefix is None:
        return dict(state)
    content = _under(state, key, source)
    weights = {name: value for name, value in content.items() if is_weight(name, value)}
    if prefix is not None:
        weights = _beginning(weights, prefix, source)
    return {"state_dict": weights, **({"meta": state["meta"]} if "meta" in state else {})}


def _under(state: Mapping[str, Any], key: str | None, source: Any) -> Mapping[str, Any]:
    if key is None:
        return at(state, place_of(state, source))
    places = {".".join(map(str, place)): place for place in sets_in(state)}
    if key not in places:
        raise UsageError(f"{source} holds no weights under the key {key}: choose {_some(places)}.")
    return at(state, places[key])


def _beginning(weights: Mapping[str, Any], prefix: str, source: Any) -> dict[str, Any]:
    start = prefix if prefix.endswith(".") or not prefix else f"{prefix}."
    chosen = {name[len(start) :]: value for name, value in weights.items() if name.startswith(start)}
    if not chosen:
        words = dict.fromkeys(f"{name.partition('.')[0]}." for name in weights)
        raise UsageError(f"No weights of {source} begin with {start}: their names begin with {_some(words)}.")
    return chosen


def _some(names: Mapping[str, Any]) -> str:
    named = [name or "the file itself (no key)" for name in names]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return ", ".join(named[:_SHOWN]) + more if named else "nothing"
