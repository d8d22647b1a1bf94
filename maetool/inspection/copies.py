"""Which pictures are there twice: in one part, in two, under two classes; and which groups are in two parts."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from maetool.data.codecs.images import UnreadableImage
from maetool.data.sources.base import Labels, Source
from maetool.messages import plural

from .bars import Bar, no_bar
from .findings import NOTHING, Finding, some
from .parts import Part

Place = tuple[str, int]  # name of a part, and the index of an image in it
_NAMED = {"train": "the training part", "val": "the validation part", "test": "the test part", "all": "the data"}


@dataclass
class Copies:
    """Images that are equal.

    Attributes:
        sets: the places of equal images, two or more each; first those of equal bytes.
        by_bytes: how many of the sets have equal bytes.
        hashed: images whose bytes were compared.
        decoded: images whose pixels were compared.
    """

    sets: list[list[Place]] = field(default_factory=list)
    by_bytes: int = 0
    hashed: int = 0
    decoded: int = 0

    @property
    def spare(self) -> int:
        """How many images would be left out if one of each set stayed."""
        return sum(len(each) - 1 for each in self.sets)

    @property
    def leaks(self) -> list[list[Place]]:
        """The sets with images of two parts."""
        return [each for each in self.sets if len({part for part, _ in each}) > 1]


def find_copies(
    sources: Mapping[str, Source],
    pixels: Mapping[Place, bytes],
    workers: int = 1,
    bar: Bar = no_bar,
) -> Copies:
    """Return the images that are equal byte by byte, and of those that were decoded, pixel by pixel.

    Args:
        sources: the images of each part.
        pixels: digest of the pixels of some images.
        workers: threads that read.
        bar: see `Bar`; it counts the images that are read, those of whose size there are others.
    """
    places = [(part, index) for part, source in sources.items() for index in range(len(source))]
    same_size = _sharing(places, lambda place: _size_of(sources[place[0]], place[1]))
    digests: dict[Place, bytes] = {}
    with ThreadPoolExecutor(workers) as pool, bar("comparing", len(same_size)) as tell:
        found = pool.map(lambda place: _digest(sources[place[0]], place[1]), same_size)
        for place, digest in zip(same_size, found, strict=True):
            tell()
            if digest is not None:
                digests[place] = digest
    sets = list(_equal(digests))
    joined = {place for each in sets for place in each[1:]}  # of those of equal bytes one stands for all
    by_pixels = list(_equal({place: digest for place, digest in pixels.items() if place not in joined}))
    return Copies(sets + by_pixels, len(sets), len(places), len(pixels))


def _equal(digests: Mapping[Place, bytes]) -> Iterator[list[Place]]:
    by_digest: dict[bytes, list[Place]] = {}
    for place, digest in digests.items():
        by_digest.setdefault(digest, []).append(place)
    yield from (places for places in by_digest.values() if len(places) > 1)


def _sharing(places: Sequence[Place], size: Callable[[Place], int]) -> list[Place]:
    """Return the places whose size others have too, or is not known (-1): only these can be equal."""
    sizes = [size(place) for place in places]
    counts: dict[int, int] = {}
    for each in sizes:
        counts[each] = counts.get(each, 0) + 1
    return [place for place, each in zip(places, sizes, strict=True) if each < 0 or counts[each] > 1]


def _size_of(source: Source, index: int) -> int:
    try:
        return os.stat(source.path(index)).st_size
    except (OSError, ValueError):  # inside of an archive
        return -1


def _digest(source: Source, index: int) -> bytes | None:
    try:
        return hashlib.blake2b(source.read(index)[1], digest_size=16).digest()
    except UnreadableImage:
        return None


def findings_of_copies(copies: Copies, parts: Sequence[Part], labelled: bool) -> list[Finding]:
    """Return what is worth saying about equal images.

    Args:
        copies: what `find_copies` returned.
        parts: all parts.
        labelled: what is learned in one part is asked in another.
    """
    by_name = {part.name: part for part in parts}
    found = []
    if leaks := copies.leaks:
        names = sorted({part for each in leaks for part, _ in each}, key=list(_NAMED).index)
        found.append(
            Finding(
                "error" if labelled else "warning",
                "leaks",
                f"{plural(len(leaks), 'picture')} {'is' if len(leaks) == 1 else 'are'} in several parts "
                f"({', '.join(names)}), so that scores there are too good: {_paths(leaks[0], by_name)}. Keep one of "
                "each.",
            )
        )
    if copies.hashed > 1 and copies.spare == copies.hashed - 1:
        sentence = f"All {copies.hashed:,} images are copies of one, so there is nothing to learn."
        return [*found, Finding("error", NOTHING, sentence)]
    inside = [each for each in copies.sets if len({part for part, _ in each}) < len(each)]
    if inside:
        found.append(
            Finding(
                "warning",
                "copies",
                f"{plural(len(inside), 'picture')} {'is' if len(inside) == 1 else 'are'} there more than once in one "
                f"part: {_paths(inside[0], by_name)}.",
            )
        )
    return found + _under_two_labels(copies, by_name)


def _under_two_labels(copies: Copies, parts: Mapping[str, Part]) -> list[Finding]:
    torn = [each for each in copies.sets if len({_label(parts[part], index) for part, index in each} - {None}) > 1]
    if not torn:
        return []
    labels = sorted({str(_label(parts[part], index)) for part, index in torn[0]})
    return [
        Finding(
            "error",
            "copies",
            f"{plural(len(torn), 'picture')} {'has' if len(torn) == 1 else 'have'} more than one label: "
            f"{_paths(torn[0], parts)} ({', '.join(labels)}). Decide which is right.",
        )
    ]


def _label(part: Part, index: int) -> str | tuple[float, ...] | None:
    labels = part.labels
    if labels is None:
        return None
    value = labels.values[index]
    if isinstance(labels, Labels) and value.ndim == 0:
        return labels.classes[int(value)]
    return tuple(value.flatten().nan_to_num(-1).tolist())


def _paths(places: Iterable[Place], parts: Mapping[str, Part]) -> str:
    return some([parts[part].source.path(index) for part, index in places], 2)
