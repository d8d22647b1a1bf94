"""From samples to a batch, which a worker process stacks in shared memory that it uses again and again.

PyTorch's loader takes new shared memory for each batch. The system has to clear its pages, which takes 110 us for an
image of 224 x 224: a seventh of what a photograph costs in all, a third of a crop where one decode gives four.
"""

import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.registry import FUNCTIONS
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from maetool.errors import UsageError

_LARGE = 2**16  # bytes of a batch; less is not worth a slot
_HEADER = 64  # bytes before a batch: the first says whether somebody has it, all of them keep numbers aligned
_SPARE = 8  # free slots that are kept; more come of a reader who gathers batches, or of many sizes


@FUNCTIONS.register_module()
def collate_samples(samples: Sequence[Any]) -> Any:
    """Return what `default_collate` returns of some samples, from a worker process sooner.

    There, each tensor of a batch comes to lie in shared memory that is free again as soon as the main process has
    dropped the tensor and all its views, and not before.

    Args:
        samples: mappings of tensors, numbers, texts and mappings of these, such as `inputs` of several views; others
            are left to `default_collate`.

    Raises:
        UsageError: samples that differ in size.
    """
    try:
        return default_collate(samples) if get_worker_info() is None else _stacked(list(samples))
    except RuntimeError as error:
        unlike = _unlike(samples)
        if not unlike:
            raise
        raise UsageError(
            f"The samples of a batch differ in size, {unlike}: crop or resize them to one in the dataset's pipeline, "
            "or set batch_size=1 of this loader, as for validation."
        ) from error


def samples_in(inputs: Tensor | Mapping[str, Tensor]) -> int:
    """Return of how many samples `inputs` or `images` of a batch are, one tensor or a mapping of tensors."""
    return len(next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs)


def part_of(values: Any, part: Any) -> Any:
    """Return the entries of some samples of a batch: of a tensor, or of all in a mapping of tensors.

    Args:
        values: tensors whose first axis is the batch.
        part: what they are indexed by, a slice or bool (B,).
    """
    if isinstance(values, Mapping):
        return {name: part_of(value, part) for name, value in values.items()}
    return values[part]


def _unlike(values: Sequence[Any], name: str = "") -> str:
    """Return the name and two different shapes of tensors that should be stacked; empty if there are none."""
    first = values[0]
    if isinstance(first, Mapping):
        inside = (_unlike([value[key] for value in values if key in value], f"{name}.{key}") for key in first)
        return next((found for found in inside if found), "")
    if not isinstance(first, Tensor):
        return ""
    other = next((value.shape for value in values if value.shape != first.shape), None)
    shapes = ("x".join(map(str, shape)) for shape in (first.shape, other or ()))
    return f"`{name.strip('.')}` of {' and '.join(shapes)}" if other is not None else ""


def _stacked(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return {name: _stacked([value[name] for value in values]) for name in first}
    if not isinstance(first, Tensor) or first.nbytes * len(values) < _LARGE:
        return default_collate(values)
    return _slots.fill(values)


class _Slots:
    """The shared memory of this process: tensors, uint8 (64 + size)."""

    def __init__(self) -> None:
        self.all: list[Tensor] = []

    def fill(self, values: list[Tensor]) -> "_Lent":
        shape = (len(values), *values[0].shape)
        slot = self.take(values[0].nbytes * len(values))
        torch.stack(values, out=_as(slot[_HEADER:], shape, values[0].dtype))
        return _Lent(slot, shape, values[0].dtype)

    def take(self, size: int) -> Tensor:
        """Return a slot of `size` bytes that nobody has."""
        lent, free = [slot for slot in self.all if slot[0]], [slot for slot in self.all if not slot[0]]
        fitting = [number for number, slot in enumerate(free) if len(slot) == _HEADER + size]
        slot = free.pop(fitting[-1]) if fitting else torch.zeros(_HEADER + size, dtype=torch.uint8).share_memory_()
        slot[0] = 1
        self.all = [*free[-_SPARE:], *lent, slot]
        return slot


class _Lent:
    """A stacked tensor on its way to the main process, where it arrives as an ordinary one."""

    def __init__(self, slot: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.content = (slot, shape, dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive, self.content


def _receive(slot: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    values = slot[_HEADER:].numpy()
    # The tensor and all its views hold on to this array, so its end is that of the last reader.
    weakref.finalize(values, _give_back, slot[:1].numpy(), os.getpid()).atexit = False
    return _as(torch.from_numpy(values), shape, dtype)


def _give_back(lent: np.ndarray, reader: int) -> None:
    if os.getpid() == reader:  # a process forked from the reader has a copy of the array, and no say
        lent[0] = 0


def _as(memory: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return memory[: torch.Size(shape).numel() * dtype.itemsize].view(dtype).view(shape)


_slots = _Slots()
