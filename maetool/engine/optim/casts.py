"""Autocast's copies of the weights, kept over the iterations of one optimiser step.

Autocast copies each weight to its dtype once in every context and forgets the copies at the end of the outermost one,
so that a step of N accumulated iterations copies them N times.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .steps import first_of


class CastWeights:
    """Keeps the copies that autocast makes, until they are dropped; 2 bytes a weight in 16 bits.

    Copies are of no use once the weights change: the optimiser wrapper drops them before its step.
    """

    def __init__(self) -> None:
        self._kept = False
        self._versions = 0

    def keep(self, model: nn.Module) -> None:
        """Keep what autocast copies from now on, and what is kept already unless a weight was changed in place.

        Args:
            model: whose weights are copied.
        """
        versions = sum(parameter._version for parameter in model.parameters())
        if versions != self._versions:
            self.drop()
        if not self._kept:
            torch.autocast_increment_nesting()  # one more context, because autocast forgets at the end of the last
        self._kept, self._versions = True, versions

    def drop(self) -> None:
        """Forget the copies."""
        if self._kept and torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        self._kept = False


@contextmanager
def keeping_casts(wrapper: Any) -> Iterator[None]:
    """Let an optimiser wrapper keep the copies between its steps, in a training loop, which drops them at its end.

    Args:
        wrapper: of a runner; one of MMEngine's keeps none.
    """
    first = first_of(wrapper)
    able = hasattr(first, "casts")
    if able:
        first.casts = CastWeights()
    try:
        yield
    finally:
        drop_casts(wrapper)
        if able:
            first.casts = None


def drop_casts(wrapper: Any) -> None:
    """Forget the copies, because other weights may be in the model now, as an EMA's in a validation.

    Args:
        wrapper: of a runner.
    """
    casts = getattr(first_of(wrapper), "casts", None)
    if casts is not None:
        casts.drop()
