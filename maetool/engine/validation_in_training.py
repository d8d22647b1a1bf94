"""Validation during training, which a stop request interrupts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.hooks import EMAHook

from maetool.evaluation.loop import ValLoop
from maetool.protocols import RunnerLike

from .stopping import PassEndedError, StopRequest


def validate(runner: RunnerLike, stop: StopRequest) -> str:
    """Validate during training until done or a stop is requested; all processes must call it together.

    Args:
        runner: a runner whose validation loop is maetool's, or one that reads its `dataloader`.
        stop: the stop request.

    Returns:
        The reason to stop, with metrics dropped and the model restored; empty after a complete validation.
    """
    loop, model, training = runner.val_loop, runner.model, runner.model.training
    try:
        with _watched(loop, stop):
            loop.run()
    except PassEndedError as ended:
        model.train(training)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                hook.after_val_epoch(runner)  # restores the trained weights
        for metric in loop.evaluator.metrics if hasattr(loop, "evaluator") else ():
            metric.results.clear()
        return ended.reason
    return ""


@contextmanager
def _watched(loop: Any, stop: StopRequest) -> Iterator[None]:
    """End the passes of a loop over its data when a stop is requested."""
    name = "read" if isinstance(loop, ValLoop) else "dataloader"
    before = getattr(loop, name)
    read = stop.full_pass
    setattr(loop, name, read if name == "read" else _WatchedLoader(before, read))
    try:
        yield
    finally:
        setattr(loop, name, before)


class _WatchedLoader:
    """A loader with another way to iterate over it."""

    def __init__(self, loader: Any, read: Callable[[Any], Iterator[Any]]) -> None:
        self._loader, self._read = loader, read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return self._read(self._loader)
