"""Samples of several files, whose channels are stacked: a picture and its depth, the bands of a scene."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from maetool.data.codecs.images import UnreadableImage, decode_image
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from .base import Labels, Measurements, Source
from .made import npy_bytes

_LOOKED_AT = 100_000  # files
_MATCHES = ("stem", "order")
_PART = re.compile(r"#(?:\d+|y\d+x\d+)$")  # of a frame or a window, behind the name of its file


@SOURCES.register_module()
class PairedSource(Source):
    """One file of each of several sources a sample, their channels stacked in the order of the sources.

    All are read at their stored size, which must be the same, and become uint8, or float32 where one does. Labels and
    groups are those of the sources that know any, which must agree.

    Args:
        sources: configs of sources, such as a folder of pictures and one of depth maps.
        channels: how many channels the images of each have; the dataset's `in_chans` is their sum.
        match: "stem" pairs files of the same path without its ending; "order" pairs the first with the first, and
            so on, for tables that list the files of one sample in one row each.
        endings: what follows the name that the files of a sample share, for each of `channels`, such as ("_1", "_2") of
            `scene_1.jpeg` and `scene_2.jpeg`; other files are passed over. One source may then hold all of them.

    Raises:
        UsageError: fewer than two sources, other numbers of channels or endings, or a file without partners.
    """

    part_registries: ClassVar = {"sources": SOURCES}

    def __init__(
        self,
        sources: Sequence[Mapping[str, Any] | Source],
        channels: Sequence[int],
        match: str = "stem",
        endings: Sequence[str] | None = None,
    ) -> None:
        self.sources = [SOURCES.build(source) for source in sources]
        self.channels = list(channels)
        if endings and len(self.sources) == 1:
            self.sources *= len(endings)
        if len(self.sources) < 2 or len(self.channels) != len(self.sources) or min(self.channels) < 1:
            raise UsageError(
                f"PairedSource got {len(self.sources)} sources and channels={self.channels}: give two or more sources, "
                "and how many channels each has."
            )
        if match not in _MATCHES:
            raise UsageError(f"match is {match!r}, but must be one of {', '.join(_MATCHES)}.")
        if endings and (match == "order" or len(endings) != len(self.sources) or len({*endings}) < len(endings)):
            raise UsageError(
                f"PairedSource got endings={endings!r} and match={match!r}: give each of its {len(self.sources)} "
                'sources an ending of its own, and match="stem".'
            )
        self.root = self.sources[0].root
        self._places = _by_stem(self.sources, endings) if match == "stem" else _by_order(self.sources)

    def __len__(self) -> int:
        return len(self._places)

    def relative(self, index: int) -> str:
        """Return the name of the first file of sample `index`."""
        return self.sources[0].relative(int(self._places[index, 0]))

    def path(self, index: int) -> str:
        """Return the path of the first file of sample `index`, for messages."""
        return self.sources[0].path(int(self._places[index, 0]))

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return the path of sample `index`, and a `.npy` file (H, W, C) of all its channels.

        Raises:
            UnreadableImage: one of its files cannot be read, or they differ in size.
        """
        images, path = [], self.path(index)
        for source, place, channels in zip(self.sources, self._places[index].tolist(), self.channels, strict=True):
            name, data = source.read(place, most)
            images.append(decode_image(data, channels, name=name).numpy())
            if images[-1].shape[1:] != images[0].shape[1:]:
                sizes = [" x ".join(map(str, image.shape[1:])) for image in (images[0], images[-1])]
                raise UnreadableImage(path, f"it has {sizes[0]} pixels, but its partner {name} has {sizes[1]}")
        return path, npy_bytes(np.concatenate(images).transpose(1, 2, 0), path, most)

    def labels(self) -> Labels | Measurements:
        """Return what the sources know of labels.

        Raises:
            UsageError: none knows any, or they disagree.
        """
        known, errors = [], []
        for place, source in enumerate(self._sources_in_order()):
            try:
                known.append((place, source.labels()))
            except UsageError as error:
                errors.append(error)
        if not known:
            raise errors[0]
        first, labels = known[0]
        for place, other in known[1:]:
            if other[0] != labels[0] or not torch.equal(other.values.nan_to_num(-9), labels.values.nan_to_num(-9)):
                raise UsageError(self._disagree(first, place, "labels"))
        return labels

    def groups(self) -> Tensor | None:
        """Return the groups that the sources know, int64 (N,), or None.

        Raises:
            UsageError: two sources know groups that are not the same.
        """
        known = [(place, g) for place, s in enumerate(self._sources_in_order()) if (g := s.groups()) is not None]
        for place, groups in known[1:]:
            pairs = torch.stack([known[0][1], groups]).unique(dim=1).shape[1]
            if not pairs == len(groups.unique()) == len(known[0][1].unique()):
                raise UsageError(self._disagree(known[0][0], place, "groups"))
        return known[0][1] if known else None

    def held_out(self) -> Tensor | None:
        """Return which samples the sources hold out, bool (N,), or None if none says it.

        Raises:
            UsageError: two sources hold out others.
        """
        known = [(place, h) for place, s in enumerate(self._sources_in_order()) if (h := s.held_out()) is not None]
        for place, held_out in known[1:]:
            if not torch.equal(held_out, known[0][1]):
                raise UsageError(self._disagree(known[0][0], place, "folds"))
        return known[0][1] if known else None

    def _sources_in_order(self) -> list[Source]:
        return [source.take(places) for source, places in zip(self.sources, self._places.T.tolist(), strict=True)]

    def _disagree(self, one: int, other: int, what: str) -> str:
        return (
            f"{self.sources[one].root} and {self.sources[other].root} know different {what} of the same samples: "
            "correct one of them, or take it out of the table."
        )


def _by_order(sources: Sequence[Source]) -> np.ndarray:
    lengths = [len(source) for source in sources]
    if len(set(lengths)) > 1:
        raise UsageError(f"The sources have {lengths} images: match='order' expects as many of each.")
    return np.arange(lengths[0]).repeat(len(sources)).reshape(-1, len(sources))


def pairing_hint(files: Source) -> str:
    """Return a sentence for `files` that lie under the same names in several folders; "" for others."""
    folders: dict[str, set[str]] = {}
    for index in range(min(len(files), _LOOKED_AT)):
        folder, _, name = posixpath.splitext(files.relative(index))[0].partition("/")
        folders.setdefault(folder, set()).add(name)
    names = list(folders.values())
    if len(names) < 2 or "" in names[0] or any(each != names[0] for each in names):
        return ""
    return (
        f" The folders {', '.join(list(folders)[:4])} hold files of the same names: if these belong to one sample, "
        "stack their channels by PairedSource."
    )


def _by_stem(sources: Sequence[Source], endings: Sequence[str] | None) -> np.ndarray:
    endings = endings or [""] * len(sources)
    places = [_stems_of(source, ending) for source, ending in zip(sources, endings, strict=True)]
    for source, stems in zip(sources, places, strict=True):
        for other, partners in zip(sources, places, strict=True):
            lonely = [stem for stem in stems if stem not in partners]
            if lonely:
                raise UsageError(
                    f"{len(lonely)} of {len(stems)} files in {source.root} have no partner in {other.root} (first "
                    f"{lonely[0]}): add it, or move the file away."
                )
    return np.array([[stems[stem] for stems in places] for stem in places[0]], np.int64)


def _stems_of(source: Source, ending: str) -> dict[str, int]:
    """Return the names of the files whose stem ends in `ending`, without it, to their numbers."""
    stems: dict[str, int] = {}
    for index in range(len(source)):
        name = source.relative(index)
        part = _PART.search(name)
        stem = posixpath.splitext(name[: part.start()] if part else name)[0]
        if not stem.endswith(ending):
            continue
        stem = stem.removesuffix(ending) + (part[0] if part else "")
        if stems.setdefault(stem, index) != index:
            first = source.path(stems[stem])
            raise UsageError(f"{first} and {source.path(index)} have one name: keep one of them.")
    if not stems:
        raise UsageError(f"No file in {source.root} has a name that ends in {ending!r}: correct endings.")
    return stems
