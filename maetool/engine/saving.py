"""Writing the checkpoints of a run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, Hook

from maetool.errors import UsageError
from maetool.parallel.sharding import is_sharded
from maetool.protocols import RunnerLike
from maetool.weights.background import snapshot
from maetool.weights.work_dir import save_as_last
from maetool.weights.write import write_checkpoint

from .state import training_state

_ONLY_TRAINING = ("optimizer", "param_schedulers")


def save(runner: RunnerLike, path: Path, meta: dict[str, Any], complete: bool = True) -> None:
    """Write a checkpoint and move the pointer `last_checkpoint` to it; all ranks must call this together.

    Args:
        runner: the runner.
        path: the file.
        meta: metadata; `epoch` and `iter` are completed epochs and iterations.
        complete: with the state of the optimiser and of the schedules; without, the pointer stays where it is.

    Raises:
        UsageError: the file cannot be written.
    """
    state = _state_at(runner, meta)
    if not complete:
        state = {name: value for name, value in state.items() if name not in _ONLY_TRAINING}

    def write() -> None:
        runner.writer.join()  # an older one must not move the pointer later
        write_checkpoint(state, path)
        if complete:
            save_as_last(path)

    _on_first(write)
    if complete:
        runner.last_saved = (meta["iter"], path.name)


def begin(runner: RunnerLike, path: Path, meta: dict[str, Any]) -> None:
    """Begin to write a complete checkpoint while training goes on; all ranks must call this together.

    The first process holds a copy of it in the memory of the host until `finish`, which must be called before the next.

    Args:
        runner: the runner.
        path: the file.
        meta: metadata; `epoch` and `iter` are completed epochs and iterations.
    """
    state = _state_at(runner, meta)
    if is_main_process():
        # What was gathered from shards on an accelerator is a copy already, but for single numbers.
        gathered = is_sharded(runner.bare_model) and next(runner.bare_model.parameters()).device.type != "cpu"
        runner.writer.start(snapshot(state, lambda x: not gathered or x.ndim == 0), path)
    runner.writer.path, runner.last_saved = path, (meta["iter"], path.name)


def finish(runner: RunnerLike) -> Path | None:
    """Wait for the checkpoint that was begun; all ranks must call this together.

    Args:
        runner: the runner.

    Returns:
        The path of the file; None if none was begun.

    Raises:
        UsageError: the file could not be written; `runner.last_saved` then names none.
    """
    path, runner.writer.path = runner.writer.path, None
    if path is not None:
        try:
            _on_first(runner.writer.wait)
        except UsageError:
            runner.last_saved = (-1, "")
            raise
    return path


def leave_no_writer(runner: RunnerLike) -> None:
    """Wait for a checkpoint that is being written when training was broken off; a failure is logged.

    Args:
        runner: the runner.
    """
    try:
        runner.writer.wait()
    except UsageError as error:
        runner.logger.error(str(error))


def _state_at(runner: RunnerLike, meta: dict[str, Any]) -> dict[str, Any]:
    state = training_state(runner, *_position(runner, meta["epoch"], meta["iter"]))
    return {**state, "meta": {**meta, **state["meta"]}}


def _on_first(work: Callable[[], None]) -> None:
    """Let the first process do something; all processes continue, or none."""
    failure = [""]
    if is_main_process():
        try:
            work()
        except UsageError as error:
            failure = [str(error)]
    broadcast_object_list(failure)
    if failure[0]:
        raise UsageError(failure[0])


def _position(runner: RunnerLike, epoch: int, iteration: int) -> tuple[int, int]:
    """Return completed epochs and iterations; MMEngine counts no epochs in an iteration-based run."""
    length = len(runner.train_dataloader)
    inside = 0 <= iteration - epoch * length <= length
    return (epoch if inside else iteration // length), iteration


def save_on_stop(runner: RunnerLike) -> None:
    """Call the hooks' `before_stop`, and add to `runner.stopped` whether the last iteration is saved.

    A hook saves in `before_stop`. MMEngine's `CheckpointHook` does not have it, so its checkpoint is written here.
    """
    runner.call_hook("before_stop")
    iteration = runner.iter
    if runner.last_saved[0] != iteration and any(isinstance(hook, CheckpointHook) for hook in runner.hooks):
        save(runner, Path(runner.work_dir) / f"iter_{iteration}.pth", {"epoch": runner.epoch, "iter": iteration})
    saved, name = runner.last_saved
    runner.saved_on_stop = saved == iteration
    what = f"saved as {name}" if runner.saved_on_stop else "not saved, because no hook of the config writes checkpoints"
    runner.stopped += f"; iteration {iteration:,} of {runner.max_iters:,} is {what}"


class EarlyEndHook(Hook):
    """Lets MMEngine's `CheckpointHook` save the last iteration of a run that a hook such as `EarlyStoppingHook` ended.

    That hook saves at its interval and at the configured length, which such a run does not reach.
    """

    priority = "LOW"  # before the hook itself publishes its last checkpoint

    def after_train(self, runner: RunnerLike) -> None:
        """Save, unless the last iteration is already saved or `save_last` is off."""
        savers = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and hook.save_last]
        if savers and runner.train_loop.stop_training and runner.last_saved[0] != runner.iter:
            step = runner.epoch if savers[0].by_epoch else runner.iter
            savers[0]._save_checkpoint_with_step(runner, step, {"epoch": runner.epoch, "iter": runner.iter})


def check_checkpoint_hook(hook: CheckpointHook, work_dir: str) -> None:
    """Check that the options of MMEngine's `CheckpointHook` are supported.

    Args:
        hook: the hook, whose `out_dir` is removed where it names the folder of the run.
        work_dir: folder of the run.

    Raises:
        UsageError: a folder other than the run's, storage that is not a local disk, or an unknown argument.
    """
    check_local(hook.out_dir, hook.file_client_args or hook.backend_args)
    if hook.out_dir is not None and Path(hook.out_dir).resolve() != Path(work_dir).resolve():
        raise UsageError(
            f"CheckpointHook has out_dir={str(hook.out_dir)!r}, but checkpoints belong in the work folder, where "
            "--resume looks for them: remove out_dir and choose the folder with --work-dir; resume existing "
            "checkpoints elsewhere with --resume PATH."
        )
    hook.out_dir = None  # otherwise the hook would append a name to an equal path that is spelled differently
    if hook.args:
        raise UsageError(
            f"CheckpointHook has no argument `{next(iter(hook.args))}`: remove it, or if a base config "
            "sets it, add _delete_=True to default_hooks.checkpoint."
        )


def check_local(folder: Any, backend: Mapping[str, Any] | None) -> None:
    """Check that checkpoints go to a local disk, where a file can be replaced atomically.

    Args:
        folder: where checkpoints go; None for that of the run.
        backend: arguments of MMEngine's file client.

    Raises:
        UsageError: another kind of storage.
    """
    kind = (backend or {}).get("backend", "local")
    if "://" in str(folder) or kind not in ("local", "disk", "LocalBackend"):
        raise UsageError(
            f"Checkpoints must be written to a local disk, but the hook has {folder} and the backend {kind}: remove "
            "out_dir and backend_args, and copy the files afterwards."
        )
