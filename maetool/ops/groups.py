"""Groups of consecutive samples of a batch."""

from torch import Tensor


def in_groups(values: Tensor, number: int) -> list[Tensor]:
    """Return a batch (B, ...) in groups of consecutive samples: (B // number, number, ...), then those left over.

    What is left over of a batch that does not divide is one smaller group, (1, B % number, ...). Groups without
    samples are left out.

    Args:
        values: (B, ...).
        number: samples of a group.
    """
    complete = len(values) // number
    groups = [values[: complete * number].unflatten(0, (complete, number))] if complete else []
    rest = values[None, complete * number :]
    return [*groups, rest] if rest.shape[1] else groups
