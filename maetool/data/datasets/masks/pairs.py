"""Which images and masks a data set of segmentation has: looked for once, and remembered in a cache."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maetool.data.sources.array_cache import Dependencies, cache_of, load_arrays, names_in, save_arrays, state_of
from maetool.data.sources.file_index import HOW_TO_SET, walk
from maetool.data.sources.packed.names import Names
from maetool.errors import UsageError
from maetool.reading import read_text

_FORMAT = "segmentation 1"
_States = dict[bytes, tuple[int, int]]


@dataclass(frozen=True)
class Place:
    """Where one kind of the files of a data set lies.

    Attributes:
        folder: searched to any depth.
        suffix: what follows the name that an image and its mask share, in upper or lower case.
        option: the argument of the dataset that says so.
        kind: what to call a file of it.
    """

    folder: Path
    suffix: str
    option: str
    kind: str

    def name_of(self, file: str) -> str:
        """Return the name that the image or mask `file` shares with its partner."""
        return file[: -len(self.suffix) or None]


def paired_files(
    images: Place, masks: Place, listed: Path | None = None, cache_dir: str | Path | None = None
) -> tuple[Names, Names]:
    """Return the files of images and, in the same order, of their masks, each as seen from its folder.

    Hidden files are passed over, links to folders followed. The result is cached, and found again without a search
    while no folder has changed.

    Args:
        images, masks: where they lie.
        listed: text file of the names to use, one a line; None, all there are, sorted.
        cache_dir: where to keep the cache; by default `maetool/index` in the user's cache folder.

    Raises:
        UsageError: a folder or list that is not there, no images, an image without a mask or a mask without an image.
    """
    places = [os.path.abspath(place.folder) + "\0" + place.suffix for place in (images, masks)]
    cache = cache_of("\0".join([*places, os.path.abspath(listed) if listed else ""]), cache_dir)
    kept = _unpacked(load_arrays(cache, _FORMAT))
    if kept is not None:
        return kept
    states: _States = {}
    began = time.time_ns()
    if listed:
        states[os.fsencode(os.path.abspath(listed))] = state_of(listed)
    pictures, truths = _files(images, states), _files(masks, states)
    names = sorted(pictures | truths) if listed is None else _listed(listed)
    if listed is None and not pictures.keys() & truths.keys():
        _explain_endings(images, masks, pictures, truths)
    for place, other, files in ((masks, images, truths), (images, masks, pictures)):
        _check_pairs(names, place.kind, other.kind, files)
    pair = Names.of([pictures[name] for name in names]), Names.of([truths[name] for name in names])
    save_arrays(cache, _FORMAT, Dependencies.of(states, began), {"image": pair[0], "mask": pair[1]})
    return pair


def _unpacked(arrays: dict[str, np.ndarray] | None) -> tuple[Names, Names] | None:
    try:
        pair = (names_in(arrays, "image"), names_in(arrays, "mask")) if arrays else None
    except (KeyError, ValueError):  # of another program
        return None
    return pair if pair and 0 < len(pair[0]) == len(pair[1]) else None


def _files(place: Place, states: _States) -> dict[str, bytes]:
    """Return name to file of all files of a place."""
    if not place.folder.is_dir():
        raise UsageError(f"There is no folder {place.folder}: {HOW_TO_SET}.")
    files = [os.path.join(folder, e.name) for folder, e in walk(os.path.abspath(place.folder), states) if _is_file(e)]
    ending = os.fsencode(place.suffix.lower())
    matches = [file for file in sorted(files) if file.lower().endswith(ending)]
    if files and not matches:
        endings = ", ".join(sorted({Path(os.fsdecode(file)).suffix for file in files})[:5])
        raise UsageError(
            f"No file in {place.folder} ends in {place.suffix}, but there are {len(files)} that end in {endings}: set "
            f"dataset.{place.option} to the ending that counts."
        )
    return {place.name_of(os.fsdecode(file)): file for file in matches}


def _is_file(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads in a circle
        return False


def _listed(path: Path) -> list[str]:
    if not path.is_file():
        raise UsageError(f"There is no list {path}: {HOW_TO_SET}, or set dataset.names.")
    return [line.strip() for line in read_text(path, "one name of an image a line").splitlines() if line.strip()]


def _explain_endings(images: Place, masks: Place, pictures: dict[str, bytes], truths: dict[str, bytes]) -> None:
    """Refuse names that differ in what stands behind them, such as `0.jpg` and `0_mask.png`, with what to set.

    Raises:
        UsageError: the names of one kind begin with those of the other.
    """
    for place, shorter, longer in ((masks, pictures, truths), (images, truths, pictures)):
        first = min(shorter, default="")
        ends = [name[len(first) :] for name in longer if name.startswith(first) and not name[len(first)].isalnum()]
        common = [end for end in ends if all(f"{name}{end}" in longer for name in shorter)]
        if common and shorter:
            raise UsageError(
                f"The names in {place.folder} end in `{common[0]}{place.suffix}`, such as "
                f"{first}{common[0]}{place.suffix}: set dataset.{place.option}={common[0]}{place.suffix}."
            )


def _check_pairs(names: list[str], kind: str, other: str, files: dict[str, bytes]) -> None:
    if not names:
        raise UsageError("The data set holds no image: check the folders, image_suffix and names.")
    lonely = [name for name in names if name not in files]
    if lonely:
        raise UsageError(
            f"{len(lonely)} of {len(names)} names have no {kind} (first `{lonely[0]}`): add it, remove the {other}"
            " too, or list the names to use in a text file, dataset.names."
        )
