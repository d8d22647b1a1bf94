"""Shards of WebDataset: tar files in which the files of a sample share a name and follow each other."""

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from maetool.data.codecs.endings import IMAGE_EXTENSIONS
from maetool.errors import UsageError
from maetool.registry import SOURCES

from ..base import Labels
from ..part_names import parts_of
from ..urls import refuse_without_url
from .archive import MemberSource
from .archives import ArchiveTable, open_archives
from .members import read_member

_MOST_LABEL_BYTES = 2**20
_AT_ONCE = 16  # labels of another machine


@SOURCES.register_module()
class WebDatasetSource(MemberSource):
    """The images of WebDataset shards, read by offset, so that order and resume stay exact.

    The files of a sample have one name up to the first dot. Its image is the first that ends as images do, or in
    `image`; its label is what the file that ends in `label` says: a number, a word, or in JSON the key `label_key`.

    Args:
        root: a shard, a folder of shards, or a pattern such as `data/train-*.tar` or `data/train-{000..146}.tar`; or
            the URL of such, see `ArchiveSource`.
        image: ending of the images, such as "jpg" or "seg.png"; None, any.
        label: ending of the labels.
        label_key: what of a label in JSON.
        cache, options, cache_bytes: of a URL, see `RemoteSource`.

    Raises:
        UsageError: no shards, damaged ones, or no image in them.
    """

    files_in: ClassVar[str | None] = "root"

    def __init__(
        self,
        root: str | Path,
        image: str | None = None,
        label: str = "cls",
        label_key: str = "label",
        cache: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        refuse_without_url(root, cache=cache, options=options, cache_bytes=cache_bytes)
        archives = open_archives(root, options)
        table = archives.table()
        self.label, self._label_key = label.lstrip("."), label_key
        samples = _samples(table)
        chosen = [(_image_of(files, image), files.get(self.label, -1)) for files in samples.values()]
        rows = np.array([pair for pair in chosen if pair[0] is not None], np.int64).reshape(-1, 2)
        if not len(rows):
            raise UsageError(f"No image in the shards of {root}: set `image` to the ending of the images in them.")
        self._truths = rows[:, 1]
        shards = [os.path.splitext(os.path.basename(path))[0] for path in archives.paths]
        folders = [f"{part}/{shard}" for part, shard in zip(parts_of(shards) or (), shards, strict=False)] or shards
        names = [f"{folders[table.columns[row, 0]]}/{table.names[row]}" for row in rows[:, 0]]
        self._hold(archives, table, rows[:, 0], names, cache, cache_bytes)

    def labels(self) -> Labels:
        """Return the labels: classes are numbers or words, sorted.

        Raises:
            UsageError: a sample has none.
        """
        without = np.flatnonzero(self._truths < 0)
        if len(without):
            raise UsageError(
                f"{len(without)} of {len(self)} samples have no `.{self.label}` (first {self.path(int(without[0]))}): "
                "set source.label to the ending of the labels, such as json or txt."
            )
        with ThreadPoolExecutor(_AT_ONCE if self._remote else 1) as threads:
            cells = list(threads.map(self._cell, self._truths.tolist()))
        numbers = all(cell.removeprefix("-").isdecimal() and len(cell) < 100 for cell in cells)
        classes = sorted(set(cells), key=int if numbers else None)
        if len(classes) == 1:
            raise UsageError(f"{self.root} has only the class `{classes[0]}`: labels need two or more classes.")
        place = {name: label for label, name in enumerate(classes)}
        return Labels(classes, torch.tensor([place[cell] for cell in cells]))

    def _cell(self, row: int) -> str:
        number, member = self._table.member(row)
        path = f"{self.archives[number]}:{member.name}"
        try:
            text = read_member(self._files, number, member, path, _MOST_LABEL_BYTES).decode().strip()
            value = json.loads(text)[self._label_key] if self.label.endswith("json") else text
        except Exception as error:  # damaged, no text, no JSON, another key
            raise UsageError(
                f"{path} gives no label ({error}): expected a number, a word, or JSON with `{self._label_key}`."
            ) from error
        if not isinstance(value, int | str) or value == "":
            raise UsageError(f"{path} gives the label {value!r}: expected a number or a word.")
        return str(value)


def _samples(table: ArchiveTable) -> dict[tuple[int, str], dict[str, int]]:
    """Return the rows of the files of each sample by their endings, which begin at the first dot of the file's name."""
    samples: dict[tuple[int, str], dict[str, int]] = {}
    for row, archive in enumerate(table.columns[:, 0].tolist()):
        folder, _, name = table.names[row].rpartition("/")
        stem, _, ending = name.partition(".")
        samples.setdefault((archive, f"{folder}/{stem}"), {})[ending.lower()] = row
    return samples


def _image_of(files: Mapping[str, int], image: str | None) -> int | None:
    if image is not None:
        return files.get(image.lstrip(".").lower())
    return next((row for ending, row in files.items() if f".{ending}".endswith(IMAGE_EXTENSIONS)), None)


def is_webdataset(root: str | Path) -> bool:
    """Return whether the archives at `root` have files beside their images that share their names.

    Raises:
        UsageError: there is none, or one cannot be read.
    """
    samples = _samples(open_archives(root).table())
    return any(len(files) > 1 and _image_of(files, None) is not None for files in samples.values())
