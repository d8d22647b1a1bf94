"""The parts of a data set, opened as a training opens them; what cannot be opened so is looked at as plain files."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maetool.data.sources.base import Labels, Measurements, Source
from maetool.data.sources.file_index import FileIndex, index_files
from maetool.data.sources.packed.names import Names
from maetool.data.sources.tables.columns import open_table
from maetool.data.sources.tables.table import paths_in_table
from maetool.errors import UsageError
from maetool.registry import DATASETS

# What a dataset is tried without, in this order, where it cannot be opened.
_WITHOUT: tuple[dict[str, Any], ...] = ({}, {"with_masks": False}, {"part": "all"}, {"with_labels": False})


@dataclass(frozen=True)
class Part:
    """A part of a data set.

    Attributes:
        name: "train", "val", "test", or "all" where there is one.
        place: the config of its dataset.
        source: its images.
        dataset: as a training has it, broken files and all; None where it cannot be opened.
        problem: why a training would not open it, "" where it would.
        undivided: it was to be held out, or what is left then, but all images are in it.
    """

    name: str
    place: dict[str, Any]
    source: Source
    dataset: Any
    problem: str
    undivided: bool = False

    @property
    def has_boxes_alone(self) -> bool:
        """Whether its objects have no outlines, so that only a model of boxes alone can learn from them."""
        return getattr(self.dataset, "with_masks", True) is False

    @property
    def labels(self) -> Labels | Measurements | None:
        """The labels of its images, None without any."""
        values = getattr(self.dataset, "labels", None)
        if values is None:
            return None
        targets = self.dataset.targets
        return Measurements(targets, values) if targets else Labels(self.dataset.classes, values)


@contextmanager
def without_log() -> Iterator[None]:
    """Keep the datasets from logging what the report says."""
    logger = logging.getLogger("maetool")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def open_part(name: str, place: Mapping[str, Any], in_chans: int = 3, **options: Any) -> Part:
    """Return a part.

    Args:
        name, place: see `Part`.
        in_chans: channels to read its images with.
        options: further arguments of its dataset.

    Raises:
        UsageError: there is no image in it.
    """
    wanted = {**place, **options}
    problem = ""
    for without in _WITHOUT:
        if not set(without) <= {*wanted, "with_masks"} or ("with_masks" in without and "annotations" not in wanted):
            continue
        wanted |= without
        try:
            dataset = DATASETS.build({**wanted, "in_chans": in_chans, "max_broken": 1.0, "pipeline": []})
        except UsageError as error:
            problem = problem or str(error)
            continue
        undivided = wanted.get("part") != place.get("part")
        return Part(name, {**place, **options}, dataset.files, dataset, problem, undivided)
    return Part(name, {**place, **options}, _plain_files(wanted, problem), None, problem, "part" in place)


def _plain_files(place: Mapping[str, Any], problem: str) -> Source:
    """Return the images at a place, whatever their truth is.

    Raises:
        UsageError: there are none; `problem` where nothing better can be said.
    """
    if "csv_file" in place:
        return _files_of_table(place, problem)
    root = Path(place["root"]) / place["images"] if "images" in place else place.get("root")
    if root is None:
        raise UsageError(problem)
    return index_files(root)


def _files_of_table(place: Mapping[str, Any], problem: str) -> Source:
    root = os.path.abspath(os.path.expanduser(place.get("root") or os.path.dirname(place["csv_file"]) or "."))
    names = paths_in_table(open_table(place["csv_file"])) or []
    there = [name for name in dict.fromkeys(names) if name and os.path.isfile(os.path.join(root, name))]
    if not there:
        raise UsageError(problem)
    return FileIndex(root, Names.of([os.fsencode(os.path.normpath(name)) for name in there]))
