"""Count and name the files that the workers had to pass over, in the main process."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.messages import plural

_ENOUGH = 200


def own_samples(batch: Mapping[str, Any]) -> Tensor:
    """Return which samples of a batch are those of their index, bool (B,); the others replace a broken file."""
    number = len(batch["index"])
    return torch.tensor([not skipped for skipped in batch.get("skipped", [""] * number)])


def own_part(batch: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a batch without the samples that replace a broken file; None where no sample is left.

    Args:
        batch: what a loader gives; tensors and lists with an entry for each sample, also those in a mapping of views
            or streams, lose those of the replacements.
    """
    if not any(batch.get("skipped", ())):
        return batch
    own = own_samples(batch)
    return {name: _entries(value, own) for name, value in batch.items()} if own.any() else None


def _entries(values: Any, chosen: Tensor) -> Any:
    if isinstance(values, Mapping):
        return {name: _entries(value, chosen) for name, value in values.items()}
    if not isinstance(values, Tensor | list | tuple) or len(values) != len(chosen):
        return values
    if isinstance(values, Tensor):
        return values[chosen.to(values.device)]
    return [value for value, is_chosen in zip(values, chosen.tolist(), strict=True) if is_chosen]


def too_many(files: int, samples: int, seen: int, max_broken: float) -> bool:
    """Return whether more is broken than is tolerated: a larger share, and more than one file unless that is half.

    Args:
        files: how many are broken.
        samples: how many met one.
        seen: how many samples there were.
        max_broken: largest share that is tolerated, 0 to 1; 0 tolerates no file.
    """
    return samples > max_broken * seen and (files > 1 or 2 * samples >= seen or max_broken == 0)


class BrokenFiles:
    """What was broken in a run: each file is logged once, and too large a share ends the run.

    The share is that of the samples whose own file was broken, so neither a cluster of broken files that one sample
    passed over nor the number of epochs changes what it estimates. A single broken file is no share: it is tolerated
    where three files or more are read, unless `max_broken` is 0.

    Args:
        max_broken: largest share of broken files that is tolerated, 0 to 1.
        logger: where each broken file is named.
        dataset_size: number of files; a smaller set than 200 is judged after its first epoch.
    """

    def __init__(self, max_broken: float, logger: logging.Logger, dataset_size: int = _ENOUGH) -> None:
        self.max_broken = max_broken
        self.logger = logger
        self.enough = min(dataset_size, _ENOUGH)
        self.seen = 0
        self.replaced = 0
        self.files: dict[str, None] = {}  # keeps the order in which they were met

    def update(self, batch_skipped: Sequence[str], batch_size: int) -> None:
        """Take in one batch.

        Args:
            batch_skipped: `skipped` of each sample, as `ImageFolderDataset` gives it.
            batch_size: number of samples in the batch.

        Raises:
            UsageError: more than `max_broken` of the samples met a broken file, once enough were seen; see `too_many`.
        """
        self.seen += batch_size
        self.replaced += sum(bool(skipped) for skipped in batch_skipped)
        for line in (line for skipped in batch_skipped for line in skipped.splitlines()):
            if line not in self.files:
                self.files[line] = None
                # Formatted here: MMEngine's logger shows warnings of the same template only once.
                self.logger.warning(f"Broken file passed over: {line}")
        if self.seen >= self.enough and too_many(len(self.files), self.replaced, self.seen, self.max_broken):
            raise UsageError(
                f"{self.summary()} That is more than max_broken={self.max_broken:g} allows: repair or remove "
                "them, or give a larger max_broken."
            )

    def summary(self) -> str:
        """Return one sentence: how many files were broken, and which came first."""
        if not self.files:
            return f"No broken file in {self.seen} samples."
        first = "; ".join(list(self.files)[:3])
        return (
            f"{self.replaced} of {self.seen} samples met a broken file and took the next one; "
            f"{plural(len(self.files), 'broken file')}, first: {first}."
        )
