"""Losses and other scalars of a step go to the logs, read from the device together and not at every step."""

from typing import Any, Literal

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.logging import HistoryBuffer
from torch import Tensor

from maetool.annotations import Count
from maetool.engine.optim.steps import Outcome, pending_of, settle
from maetool.errors import UsageError
from maetool.ops.device import reading_is_free
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS

from .log import LogHook

_EVERY = 10


@HOOKS.register_module()
class ScalarsHook(RuntimeInfoHook):
    """MMEngine's `RuntimeInfoHook`, which reads the scalars of several iterations at once; none is lost.

    Every run has this hook under the name `runtime_info`. It also reads before a report, a validation, a checkpoint and
    the end of training.

    Args:
        read_every: iterations between two reads; None is 1 on a CPU and 10 on accelerators, where each read waits for
            the device.
        logged_only: when numbers are computed that nothing but logs reads, such as `constant_predictor` and accuracies:
            "always", so that a report has their mean over its iterations; "reports", only in the iteration of a report,
            which has their value there; None, "always" on a CPU and "reports" on accelerators.

    Raises:
        UsageError: an unknown choice.
    """

    def __init__(
        self, read_every: Count | None = None, logged_only: Literal["always", "reports"] | None = None
    ) -> None:
        if logged_only not in ("always", "reports", None):
            raise UsageError(f'ScalarsHook\'s logged_only is {logged_only!r}, but must be "always", "reports" or None.')
        self.read_every, self.logged_only = read_every, logged_only
        self._unread: list[tuple[Outcome | None, dict[str, Any]]] = []

    def after_train_iter(
        self, runner: RunnerLike, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Keep the scalars of the iteration, and read them when it is time."""
        values = {name: x.detach() if isinstance(x, Tensor) else x for name, x in (outputs or {}).items()}
        self._unread.append((pending_of(runner.optim_wrapper), values))
        every = self.read_every or (1 if _is_free(values) else _EVERY)
        if self.every_n_train_iters(runner, every):
            self.read_pending(runner)

    def read_pending(self, runner: RunnerLike) -> None:
        """Read what is not read yet of `runner`; scalars of an iteration that was not finite are left out."""
        settle(runner.optim_wrapper)
        fine = [values for outcome, values in self._unread if outcome is None or outcome.fault is None]
        self._unread = []
        for values in _read(fine):
            _fill_gaps(runner.message_hub.log_scalars, values)
            super().after_train_iter(runner, 0, None, values)

    def before_val(self, runner: RunnerLike) -> None:
        """Read before a validation."""
        self.read_pending(runner)
        super().before_val(runner)

    def after_train(self, runner: RunnerLike) -> None:
        """Read at the end of training."""
        self.read_pending(runner)
        super().after_train(runner)


def needs_logged_values(runner: RunnerLike) -> bool:
    """Return whether the numbers that are only logged are needed in the iteration of `runner` that begins."""
    hook = next((hook for hook in runner.hooks if isinstance(hook, ScalarsHook)), None)
    if hook is None or hook.logged_only == "always":
        return True
    if hook.logged_only is None and reading_is_free(next(runner.model.parameters())):
        return True
    loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
    return any(not isinstance(hook, LogHook) or hook.reports_at(runner) for hook in loggers)


def _fill_gaps(histories: dict[str, HistoryBuffer], values: dict[str, Any]) -> None:
    """Note iterations in which a value was not computed as such, so that all histories have the same places."""
    if "train/loss" not in histories:
        return
    length = len(histories["train/loss"].data[0])
    for name in values:
        history = histories.setdefault(f"train/{name}", HistoryBuffer())
        for _ in range(length - len(history.data[0])):
            history.update(0.0, 0)  # counts in no mean


def _is_free(values: dict[str, Any]) -> bool:
    return all(reading_is_free(x) for x in values.values() if isinstance(x, Tensor))


def _read(several: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return dicts of scalars with those of an accelerator read, all by one transfer."""
    away = [x for values in several for x in values.values() if isinstance(x, Tensor) and not reading_is_free(x)]
    numbers = iter(torch.stack([x.float().mean() for x in away]).tolist() if away else [])
    return [
        {name: next(numbers) if isinstance(x, Tensor) and not reading_is_free(x) else x for name, x in values.items()}
        for values in several
    ]
