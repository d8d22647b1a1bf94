"""Losses and other scalars of a step go to the logs, read from the device together and not at every step."""

from typing import Any

import torch
from mmengine.hooks import RuntimeInfoHook
from torch import Tensor

from maetool.annotations import Count
from maetool.engine.optim.steps import Outcome, pending_of, settle
from maetool.ops.device import reading_is_free
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS

_EVERY = 10


@HOOKS.register_module()
class ScalarsHook(RuntimeInfoHook):
    """MMEngine's `RuntimeInfoHook`, which reads the scalars of several iterations at once; none is lost.

    Every run has this hook under the name `runtime_info`. It also reads before a report, a validation, a checkpoint and
    the end of training.

    Args:
        read_every: iterations between two reads; None is 1 on a CPU and 10 on accelerators, where each read waits for
            the device.
    """

    def __init__(self, read_every: Count | None = None) -> None:
        self.read_every = read_every
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
            super().after_train_iter(runner, 0, None, values)

    def before_val(self, runner: RunnerLike) -> None:
        """Read before a validation."""
        self.read_pending(runner)
        super().before_val(runner)

    def after_train(self, runner: RunnerLike) -> None:
        """Read at the end of training."""
        self.read_pending(runner)
        super().after_train(runner)


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
