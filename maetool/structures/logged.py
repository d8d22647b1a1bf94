"""Numbers that are only logged: computed in the steps in which somebody logs them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_computed = True


@contextmanager
def logged_values(computed: bool) -> Iterator[None]:
    """Choose whether `only_logged` computes anything; by default it does.

    Args:
        computed: False in a training step that is not reported. All processes must agree.
    """
    global _computed
    before, _computed = _computed, computed
    try:
        yield
    finally:
        _computed = before


def only_logged(compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return values that nothing but logs reads, computed without gradient; {} in steps that are not reported.

    Args:
        compute: gives them by name; without side effects, as it is called in some steps only.
    """
    if not _computed:
        return {}
    with torch.no_grad():
        return compute()
