"""Validation during training, which a stop request interrupts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from mmengine.hooks import EMAHook

from maetool.evaluation.loop import ValLoop
from maetool.protocols import RunnerLike

from .stopping import PassEndedError, StopRequest


def validate(runner: RunnerLike, stop: StopRequest) -> str:
    """Validate in the middle of training, as long as the run is not asked to stop; all processes call it together.

    Args:
        runner: its loop of validation is maetool's, or another that reads its `dataloader`.
        stop: whether the run is asked to.

    Returns:
        Why to stop, without metrics and with the model as it was; empty after a complete validation.
    """
    loop, model, training = runner.val_loop, runner.model, runner.model.training
    try:
        with _watched(loop, stop, next(model.parameters()).device):
            loop.run()
    except PassEndedError as ended:
        model.train(training)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                hook.after_val_epoch(runner)  # puts the weights that are trained back
        for metric in loop.evaluator.metrics if hasattr(loop, "evaluator") else ():
            metric.results.clear()
        return ended.reason
    return ""


@contextmanager
def _watched(loop: Any, stop: StopRequest, device: torch.device) -> Iterator[None]:
    """Let the passes that a loop makes over its data end when the run is asked to stop."""
    name = "read" if isinstance(loop, ValLoop) else "dataloader"
    before = getattr(loop, name)
    read = partial(stop.full_pass, device=device)
    setattr(loop, name, read if name == "read" else _WatchedLoader(before, read))
    try:
        yield
    finally:
        setattr(loop, name, before)


class _WatchedLoader:
    """A loader that is read in another way."""

    def __init__(self, loader: Any, read: Callable[[Any], Iterator[Any]]) -> None:
        self._loader, self._read = loader, read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return self._read(self._loader)
