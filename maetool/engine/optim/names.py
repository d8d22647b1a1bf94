"""Which optimisers a config has: one, or several by name."""

from collections.abc import Mapping
from typing import Any


def optimizers_in(wrapper: Any) -> dict[str, Mapping[str, Any]]:
    """Return the config of each optimiser wrapper by its place: of the only one, or of several by name."""
    if not isinstance(wrapper, Mapping):
        return {}
    entries = {f"optim_wrapper.{name}": one for name, one in wrapper.items() if isinstance(one, Mapping)}
    return {place: one for place, one in entries.items() if "optimizer" in one} or {"optim_wrapper": wrapper}


def names_of_optimizers(wrapper: Any) -> list[str]:
    """Return the names of several optimisers in the config of a wrapper; an empty list for one."""
    return [place.removeprefix("optim_wrapper.") for place in optimizers_in(wrapper) if "." in place]


def shared_settings(wrapper: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands beside the names of several optimisers: the arguments of the wrapper of each."""
    names = names_of_optimizers(wrapper)
    return {key: value for key, value in wrapper.items() if key not in (*names, "constructor", "paramwise_cfg")}
