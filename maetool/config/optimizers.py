"""Several optimisers in a config: their names, what belongs to each, and what they share."""

from collections.abc import Mapping
from typing import Any

from maetool.engine.optim.names import names_of_optimizers
from maetool.errors import UsageError
from maetool.registry import OPTIM_WRAPPER_CONSTRUCTORS, check_arguments, find_part

OF_EACH = ("parts", "optimizer", "constructor", "paramwise_cfg", "clip_grad")
_OF_ONE = ("DefaultOptimWrapperConstructor", "DecayGroupsConstructor", "LayerDecayConstructor")
_EXAMPLE = 'constructor="OptimizersByPartConstructor", main=dict(optimizer=...), masker=dict(parts="masker", ...)'


def is_by_part(wrapper: Any) -> bool:
    """Return whether the constructor of a wrapper gives each part of the model to one of several optimisers."""
    name = wrapper.get("constructor") if isinstance(wrapper, Mapping) else None
    return bool(name) and getattr(find_part(name, OPTIM_WRAPPER_CONSTRUCTORS), "by_part", False)


def check_names(wrapper: Any) -> None:
    """Check which optimisers a config names, and that the constructor builds as many.

    Args:
        wrapper: `optim_wrapper` of the config; what is no mapping is not checked here.

    Raises:
        UsageError: several optimisers with a constructor for one, or the other way round; settings in the wrong place.
    """
    if not isinstance(wrapper, Mapping):
        return
    names, constructor = names_of_optimizers(wrapper), wrapper.get("constructor") or _OF_ONE[0]
    if is_by_part(wrapper):
        _check_entries(wrapper, names)
    elif names and constructor in _OF_ONE:
        raise UsageError(
            f"optim_wrapper names the optimisers {', '.join(names)}, but {constructor} builds one: write {_EXAMPLE}."
        )


def _check_entries(wrapper: Mapping[str, Any], names: list[str]) -> None:
    if "optimizer" in wrapper or "paramwise_cfg" in wrapper or not names:
        has = [key for key in ("optimizer", "paramwise_cfg") if key in wrapper]
        raise UsageError(
            f"optim_wrapper has {f'`{has[0]}` beside' if has else 'no'} names of optimisers, but "
            f"OptimizersByPartConstructor reads it under the name of each: write {_EXAMPLE}."
        )
    for name in names:
        wrong = [key for key in wrapper[name] if key not in OF_EACH]
        if wrong:
            check_arguments(f"optim_wrapper.{name}", wrapper[name], (*OF_EACH, "dtype", "accumulative_counts", "guard"))
            raise UsageError(
                f"optim_wrapper.{name} has `{wrong[0]}`, but the optimisers make their steps together: write it once, "
                f"as optim_wrapper.{wrong[0]}."
            )
    bare = [key for key, value in wrapper.items() if isinstance(value, Mapping) and key not in (*names, "clip_grad")]
    if bare:
        raise UsageError(
            f"optim_wrapper.{bare[0]} has no optimizer: add optimizer=dict(type=..., lr=...), or remove it."
        )


def check_schedules(wrapper: Any, schedules: Any) -> None:
    """Check that schedules by name are those of the optimisers.

    Args:
        wrapper: `optim_wrapper` of the config.
        schedules: `param_scheduler` of the config; only those in a mapping by name are checked.

    Raises:
        UsageError: an optimiser without schedules, or schedules without an optimiser.
    """
    if not isinstance(schedules, Mapping) or "type" in schedules or not isinstance(wrapper, Mapping):
        return
    names = names_of_optimizers(wrapper)
    if set(schedules) != set(names):
        raise UsageError(
            f"param_scheduler has schedules of {', '.join(map(str, schedules)) or 'nothing'}, but optim_wrapper has "
            f"{'the optimisers ' + ', '.join(names) if names else 'one optimiser without a name'}: give a list of "
            "schedules for each name, [] for none, or one list for all."
        )
