"""Validation batches that count broken files."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mmengine.dist import all_gather_object

from maetool.data.datasets.broken_files import BrokenFiles


class CountedBatches:
    """The batches of a loader, which can be read several times; each broken file counts once.

    Args:
        loader: the loader; datasets without files have no broken ones.
        logger: logs each broken file once.
        title: the purpose of the images, for the log.
        read: returns the batches of the loader for one pass.
    """

    def __init__(
        self, loader: Any, logger: logging.Logger, title: str, read: Callable[[Any], Iterable[Any]] = iter
    ) -> None:
        self.loader, self.logger, self.title, self._read = loader, logger, title, read
        self._total = len(loader.dataset)
        self._files = BrokenFiles(getattr(loader.dataset, "max_broken", 1.0), logger, self._total)
        self._broken: dict[int, str] = {}

    def __iter__(self) -> Iterator[Any]:
        """Yield each batch of the loader."""
        for data in self._read(self.loader):
            if "skipped" in data:
                pairs = zip(map(int, data["index"]), data["skipped"], strict=True)
                self._broken |= {index: lines for index, lines in pairs if lines}
            yield data

    def report(self) -> None:
        """Log the broken files of all processes since the last call; all processes must call it together.

        Raises:
            UsageError: more than the dataset's `max_broken` of its images are broken.
        """
        broken = {index: lines for part in all_gather_object(self._broken) for index, lines in part.items()}
        self._broken = {}
        if not broken:
            return
        self._files.seen = self._files.replaced = 0  # a share of this pass; names stay, so that each is logged once
        self._files.update([broken[index] for index in sorted(broken)], self._total)
        self.logger.info(
            f"{self.title}: {self._total - len(broken):,} of {self._total:,} images, without {len(broken):,} with "
            "a broken file."
        )
