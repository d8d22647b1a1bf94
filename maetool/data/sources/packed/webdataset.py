"""Shards of WebDataset: tar files in which the files of a sample share a name and follow each other."""

import json
import os
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import ClassVar

import torch

from maetool.data.codecs.endings import IMAGE_EXTENSIONS
from maetool.errors import UsageError
from maetool.registry import SOURCES

from ..base import Labels
from .archive import ArchiveSource, archives_at
from .members import Member, members_in, read_member
from .open_files import OpenFiles

_MOST_LABEL_BYTES = 2**20


@SOURCES.register_module()
class WebDatasetSource(ArchiveSource):
    """The images of WebDataset shards, read by offset, so that order and resume stay exact.

    The files of a sample have one name up to the first dot. Its image is the first that ends as images do, or in
    `image`; its label is what the file that ends in `label` says: a number, a word, or in JSON the key `label_key`.

    Args:
        root: a shard, a folder of shards, or a pattern such as `data/train-*.tar`.
        image: ending of the images, such as "jpg" or "seg.png"; None, any.
        label: ending of the labels.
        label_key: what of a label in JSON.

    Raises:
        UsageError: no shards, damaged ones, or no image in them.
    """

    files_in: ClassVar[str | None] = "root"

    def __init__(
        self, root: str | Path, image: str | None = None, label: str = "cls", label_key: str = "label"
    ) -> None:
        place = os.path.abspath(os.path.expanduser(root))
        self.archives = sorted(glob(place)) if any(sign in place for sign in "*?[") else archives_at(place)
        self.root = place if os.path.isdir(place) else os.path.dirname(place)
        self.label, self._key = label.lstrip("."), label_key
        pictures: list[list[Member]] = []
        self._truths: list[tuple[int, Member] | None] = []
        for number, path in enumerate(self.archives):
            samples = _samples(members_in(path))
            chosen = {key: _image_of(files, image) for key, files in samples.items()}
            pictures.append([member for member in chosen.values() if member])
            truths = [samples[key].get(self.label) for key, member in chosen.items() if member]
            self._truths += [(number, truth) if truth else None for truth in truths]
        if not any(pictures):
            raise UsageError(f"No image in the shards of {place}: set `image` to the ending of the images in them.")
        shards = [os.path.splitext(os.path.basename(path))[0] for path in self.archives]
        names = [[f"{shard}/{m.name}" for m in each] for shard, each in zip(shards, pictures, strict=True)]
        self._hold(pictures, names)

    def labels(self) -> Labels:
        """Return the labels: classes are numbers or words, sorted.

        Raises:
            UsageError: a sample has none.
        """
        without = [index for index, truth in enumerate(self._truths) if truth is None]
        if without:
            raise UsageError(
                f"{len(without)} of {len(self)} samples have no `.{self.label}` (first {self.path(without[0])}): set "
                "source.label to the ending of the labels, such as json or txt."
            )
        files = OpenFiles(self.archives)
        cells = [self._cell(files, *truth) for truth in self._truths if truth]
        numbers = all(cell.removeprefix("-").isdecimal() and len(cell) < 100 for cell in cells)
        classes = sorted(set(cells), key=int if numbers else None)
        if len(classes) == 1:
            raise UsageError(f"{self.root} has only the class `{classes[0]}`: labels tell two or more classes apart.")
        place = {name: label for label, name in enumerate(classes)}
        return Labels(classes, torch.tensor([place[cell] for cell in cells]))

    def _cell(self, files: OpenFiles, number: int, member: Member) -> str:
        path = f"{self.archives[number]}:{member.name}"
        try:
            text = read_member(files, number, member, path, _MOST_LABEL_BYTES).decode().strip()
            value = json.loads(text)[self._key] if self.label.endswith("json") else text
        except Exception as error:  # damaged, no text, no JSON, another key
            raise UsageError(
                f"{path} gives no label ({error}): expected a number, a word, or JSON with `{self._key}`."
            ) from error
        if not isinstance(value, int | str) or value == "":
            raise UsageError(f"{path} gives the label {value!r}: expected a number or a word.")
        return str(value)


def _samples(members: Sequence[Member]) -> dict[str, dict[str, Member]]:
    """Return the files of each sample by their endings, which begin at the first dot of the file's name."""
    samples: dict[str, dict[str, Member]] = {}
    for member in members:
        folder, _, name = member.name.rpartition("/")
        stem, _, ending = name.partition(".")
        samples.setdefault(f"{folder}/{stem}", {})[ending.lower()] = member
    return samples


def _image_of(files: dict[str, Member], image: str | None) -> Member | None:
    if image is not None:
        return files.get(image.lstrip(".").lower())
    return next((member for ending, member in files.items() if f".{ending}".endswith(IMAGE_EXTENSIONS)), None)


def is_webdataset(archives: Sequence[str]) -> bool:
    """Return whether the first of some archives has files beside its images that share their names."""
    samples = _samples(members_in(archives[0]))
    return any(len(files) > 1 and _image_of(files, None) for files in samples.values())
