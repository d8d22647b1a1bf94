"""Optimiser and schedules of a resumed run: their state is the checkpoint's, their options are the config's."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.optim import OptimWrapperDict
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler

from maetool.annotations import parameters_of
from maetool.engine.optim.check import check_state
from maetool.engine.optim.full_state import load_full_state
from maetool.engine.optim.schedules import WarmupSchedule, state_of
from maetool.errors import UsageError
from maetool.messages import plural
from maetool.protocols import RunnerLike

State = Mapping[str, Any]
_POSITION = ("last_step", "_global_step", "_last_value", "verbose")  # a scheduler's position; the rest is its shape


def restore_optimizer(
    runner: RunnerLike,
    saved: Mapping[str, Any],
    schedules: Sequence[Mapping[str, Any]],
    epoch: int,
    iteration: int,
    moved: bool,
    as_before: bool = False,
) -> None:
    """Load the state of the optimiser, and set every scheduled value to that of the config's schedule at this position.

    A schedule that is a function of the position (`WarmupSchedule`) is evaluated there. A schedule of MMEngine computes
    each value from the previous one: it continues from the saved value if nothing has changed, and is otherwise run
    again from the first step.

    Args:
        runner: the runner, with the optimiser and schedulers of the config.
        saved: state of the optimiser wrapper.
        schedules: state of each scheduler.
        epoch, iteration: completed epochs and iterations, counted as in this run.
        moved: whether the checkpoint counts iterations differently.
        as_before: whether the schedules in the config are those of the checkpoint's config.

    Raises:
        UsageError: different parameter groups, or a changed option under a schedule that depends on measurements.
    """
    wrapper, schedulers = runner.optim_wrapper, runner.param_schedulers or ()
    _check_names(wrapper, saved)
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


def _check_names(wrapper: Any, saved: State) -> None:
    several = isinstance(wrapper, OptimWrapperDict)
    new, old = list(wrapper.keys()) if several else [], [] if "param_groups" in saved else list(saved)
    if set(new) != set(old):
        has, now = (f"the optimisers {', '.join(names)}" if names else "one optimiser" for names in (old, new))
        raise UsageError(
            f"The checkpoint has {has}, but the config has {now}: resume with the optimisers of the original run, or "
            "start a new run from its weights with --cfg-options load_from=PATH."
        )


def _by_optimizer(
    wrapper: OptimWrapperDict, saved: State, schedulers: Any, schedules: Sequence[State]
) -> Iterator[tuple[Any, State, list[Any], list[State]]]:
    """Yield each optimiser wrapper of several with its saved state, its schedulers and their states."""
    rest = list(schedules)
    for name, one in wrapper.items():
        own = list(schedulers.get(name, ())) if isinstance(schedulers, Mapping) else []
        states, rest = rest[: len(own)], rest[len(own) :]
        yield one, saved[name], own, states


def _restore_one(
    wrapper: Any, saved: State, schedulers: Sequence[Any], schedules: Sequence[State], moved: bool, as_before: bool
) -> bool:
    """Load the state of one optimiser; return whether its schedules were loaded too, so that none must be computed."""
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
    check_state(wrapper.optimizer, saved)
    groups = [{**new, "params": old["params"]} for new, old in zip(fresh, saved["param_groups"], strict=False)]
    state = {name: value for name, value in saved.items() if name != "base_param_settings"}
    load_full_state(wrapper, {**state, "param_groups": groups})
    return False


def _check_groups(groups: Sequence[State], saved: Sequence[State]) -> None:
    new, old = ([len(group["params"]) for group in each] for each in (groups, saved))
    if new != old:
        raise UsageError(
            f"The checkpoint's optimiser has {sum(old)} tensors in {plural(len(old), 'group')}, but {sum(new)} in "
            f"{len(new)} are trained now: resume with the model.frozen, optim_wrapper.constructor and paramwise_cfg of "
            "the original run, or start a new run from its weights with --cfg-options load_from=PATH."
        )


def _options_differ(fresh: Sequence[State], saved: Sequence[State]) -> bool:
    """Return whether an option of the optimiser differs from the checkpoint."""
    for group, old in zip(fresh, saved, strict=False):
        # A scheduled value changes; its initial value is stored beside it.
        fixed = [name for name in group if name != "params" and f"initial_{name}" not in group]
        if any(_plain(group[name]) != _plain(old.get(name)) for name in fixed):
            return True
    return False


def _shapes_differ(schedulers: Sequence[Any], schedules: Sequence[State], as_before: bool) -> bool:
    """Return whether the shape of a schedule differs from the checkpoint.

    Which entries of the state change during training is unknown for arbitrary classes. If the config of the schedules
    is unchanged, only constructor arguments are compared, which also depend on other sections; otherwise everything
    but the position is.
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
    """Step new schedulers as training does, up to this position."""
    if any(isinstance(scheduler, ReduceOnPlateauParamScheduler) for scheduler in schedulers):
        raise UsageError(
            "The learning rate depends on the run's measurements (ReduceOnPlateau), so it cannot be computed for "
            "changed options: resume with the optimiser and the schedule of the original run."
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
