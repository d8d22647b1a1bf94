"""Optimiser and schedules of a resumed run: their state is the checkpoint's, their options are the config's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.optim import OptimWrapperDict
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler

from maetool.annotations import parameters_of
from maetool.engine.optim.full_state import load_full_state
from maetool.engine.optim.schedules import WarmupSchedule, state_of
from maetool.errors import UsageError
from maetool.protocols import RunnerLike

State = Mapping[str, Any]
_POSITION = ("last_step", "_global_step", "_last_value", "verbose")  # of a scheduler; the rest is its shape


def restore_optimizer(
    runner: RunnerLike,
    saved: Mapping[str, Any],
    schedules: Sequence[Mapping[str, Any]],
    epoch: int,
    iteration: int,
    moved: bool,
    as_before: bool = False,
) -> None:
    """Load the state of the optimiser, and bring every scheduled value to where the config's schedule has it now.

    A schedule that is a function of the position (`WarmupSchedule`) is evaluated there. One of MMEngine's, each of
    whose values is made of the one before, continues from the saved value where nothing differs, and is run again from
    the first step where anything does.

    Args:
        runner: with optimiser and schedulers as the config describes them.
        saved: state of the optimiser wrapper.
        schedules: state of each scheduler.
        epoch, iteration: those that are over, in iterations of this run.
        moved: whether the checkpoint counts other iterations.
        as_before: whether the config describes the schedules as that of the checkpoint does.

    Raises:
        UsageError: other parameter groups, or a changed rate under a schedule that follows measurements.
    """
    wrapper, schedulers = runner.optim_wrapper, runner.param_schedulers or ()
    if not isinstance(wrapper, OptimWrapperDict):
        parts = [(wrapper, saved, list(schedulers), list(schedules))]
    else:
        parts = list(_by_optimizer(wrapper, saved, schedulers, schedules))
    for one, state, own, states in parts:
        if _restore_one(one, state, own, states, moved, as_before):
            continue
        if all(isinstance(scheduler, WarmupSchedule) for scheduler in own):
            for scheduler in own:
                scheduler.jump_to(iteration)
        else:
            _run_again(own, epoch, iteration, len(runner.train_dataloader))


def _by_optimizer(
    wrapper: OptimWrapperDict, saved: State, schedulers: Any, schedules: Sequence[State]
) -> Iterator[tuple[Any, State, list[Any], list[State]]]:
    """Yield each optimiser wrapper of several with its saved state, its schedulers and their states."""
    if set(wrapper.keys()) != set(saved):
        raise UsageError(
            f"The checkpoint has the optimisers {', '.join(map(str, saved))}, but the config has "
            f"{', '.join(wrapper.keys())}: resume with those that the run began with."
        )
    rest = list(schedules)
    for name, one in wrapper.items():
        own = list(schedulers.get(name, ())) if isinstance(schedulers, Mapping) else []
        states, rest = rest[: len(own)], rest[len(own) :]
        yield one, saved[name], own, states


def _restore_one(
    wrapper: Any, saved: State, schedulers: Sequence[Any], schedules: Sequence[State], moved: bool, as_before: bool
) -> bool:
    """Load the state of one optimiser, and return whether its schedules were loaded too and nothing is to compute."""
    fresh = [dict(group) for group in wrapper.param_groups]
    saved_groups = [*saved["param_groups"], *filter(None, [saved.get("base_param_settings")])]
    _check_groups(wrapper.optimizer.param_groups, saved["param_groups"])
    by_position = all(isinstance(scheduler, WarmupSchedule) for scheduler in schedulers)
    differ = _options_differ(fresh, saved_groups) or _shapes_differ(schedulers, schedules, as_before)
    if not (by_position or moved or differ):
        load_full_state(wrapper, saved)
        for scheduler, state in zip(schedulers, schedules, strict=True):
            scheduler.load_state_dict(state)
        return True
    groups = [{**new, "params": old["params"]} for new, old in zip(fresh, saved["param_groups"], strict=False)]
    state = {name: value for name, value in saved.items() if name != "base_param_settings"}
    load_full_state(wrapper, {**state, "param_groups": groups})
    return False


def _check_groups(groups: Sequence[State], saved: Sequence[State]) -> None:
    new, old = ([len(group["params"]) for group in each] for each in (groups, saved))
    if new != old:
        raise UsageError(
            f"The checkpoint's optimiser has {sum(old)} tensors in {len(old)} group(s), but {sum(new)} in {len(new)} "
            "are trained now: resume with the model.frozen, optim_wrapper.constructor and paramwise_cfg that the run "
            "began with, or start anew from its weights with --cfg-options load_from=PATH."
        )


def _options_differ(fresh: Sequence[State], saved: Sequence[State]) -> bool:
    """Return whether an option of the optimiser is other than in the checkpoint."""
    for group, old in zip(fresh, saved, strict=False):
        # A scheduled value moves; what it began with is kept beside it.
        fixed = [name for name in group if name != "params" and f"initial_{name}" not in group]
        if any(_plain(group[name]) != _plain(old.get(name)) for name in fixed):
            return True
    return False


def _shapes_differ(schedulers: Sequence[Any], schedules: Sequence[State], as_before: bool) -> bool:
    """Return whether the shape of a schedule is other than in the checkpoint.

    What moves in the state of a schedule of any class cannot be known. Where the config describes it as before, only
    what its constructor was given is compared, which also follows from other sections; else all but the position.
    """
    if len(schedulers) != len(schedules):
        return True
    for one, old in zip(schedulers, schedules, strict=True):
        names = set(old) - set(_POSITION)
        if as_before:
            names &= {"base_values", *(name for cls in type(one).__mro__ for name in parameters_of(cls) or ())}
        elif set(state_of(one)) != set(old):
            return True
        if any(getattr(one, name, None) != old[name] for name in names):
            return True
    return False


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _run_again(schedulers: Sequence[Any], epoch: int, iteration: int, epoch_length: int) -> None:
    """Step new schedulers in the order of a training that comes to this place."""
    if any(isinstance(scheduler, ReduceOnPlateauParamScheduler) for scheduler in schedulers):
        raise UsageError(
            "The learning rate follows the measurements of the run (ReduceOnPlateau), so it cannot be computed for "
            "other options: resume with the optimiser and the schedule that the run began with."
        )
    for scheduler in schedulers:
        scheduler.optimizer._global_step = 0  # MMEngine would warn of a schedule that runs ahead of the optimiser
    for step in range(iteration):
        for scheduler in schedulers:
            if not scheduler.by_epoch:
                scheduler.step()
        if (step + 1) % epoch_length == 0 and (step + 1) // epoch_length <= epoch:
            for scheduler in schedulers:
                if scheduler.by_epoch:
                    scheduler.step()
