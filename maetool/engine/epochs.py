"""Where a pass over the training data begins."""

from collections.abc import Iterator
from typing import Any

from maetool.errors import UsageError


def enter(dataloader: Any, epoch: int, start: int) -> None:
    """Make the next pass over `dataloader` begin at batch `start` of `epoch`, both counted from 0.

    Raises:
        UsageError: the loader was built elsewhere, with a sampler that does not support this.
    """
    sampler, batch = dataloader.sampler, dataloader.batch_size
    if not hasattr(sampler, "set_position"):
        raise UsageError(
            f"The loader's {type(sampler).__name__} cannot begin inside an epoch: give the loader as a config, or wrap "
            "its sampler in maetool.data.KeyedOrder."
        )
    if getattr(sampler, "endless", False):
        sampler.set_position(0, (epoch * len(dataloader) + start) * batch)
    else:
        sampler.set_position(epoch, start * batch)


class EndlessBatches:
    """An iterator over the batches of successive epochs, from any iteration; used by `IterBasedTrainLoop`.

    MMEngine's own iterator waits two seconds between epochs, and restarts the epoch numbers after a resume.

    Args:
        dataloader: a loader whose sampler has `set_position`.
    """

    def __init__(self, dataloader: Any) -> None:
        self.dataloader, self.iteration = dataloader, 0
        self._batches: Iterator[Any] = iter(())

    def __iter__(self) -> "EndlessBatches":
        return self

    def __next__(self) -> Any:
        batch = next(self._batches, None)
        if batch is None:
            enter(self.dataloader, *divmod(self.iteration, len(self.dataloader)))
            self._batches = iter(self.dataloader)
            batch = next(self._batches)
        self.iteration += 1
        return batch

    def skip_iter(self, num_iters: int) -> None:
        """Skip `num_iters` iterations without reading their images."""
        self.iteration += num_iters
