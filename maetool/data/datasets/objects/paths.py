"""Where the images of an annotation file are, whose names may be those of another machine."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from maetool.data.sources.file_index import index_files
from maetool.data.sources.packed.names import Names
from maetool.errors import UsageError
from maetool.reading import read_text

# Label Studio's addresses of its own files, `/data/local-files/?d=images/a.png`.
_SEPARATORS = re.compile(r"[/\\]|\?d=")


@dataclass(frozen=True)
class Located:
    """The files of an annotation file's images.

    Attributes:
        names: the files, relative to their folder or absolute.
        moved: how many have another name in the annotation file.
        first: the first of these, as in the annotation file, and as it is.
    """

    names: Names
    moved: int = 0
    first: tuple[str, str] = ("", "")

    def describe(self) -> str:
        """Return a sentence on names that are others, if there are any."""
        if not self.moved:
            return ""
        return f" {self.moved:,} names of files are not as in the file; {self.first[0]} is taken as {self.first[1]}."


def locate(folder: str, files: Names, annotations: str | Path) -> Located:
    r"""Return where the images that an annotation file lists are.

    A name that is none in `folder` loses its first folders, one after the other, until it is: `images/a.png`,
    `images\a.png` and `/home/else/data/images/a.png` are `a.png`. What is left is looked for at any depth below
    `folder`, where upper and lower case are the same; one file must have the name.

    Args:
        folder: of the images.
        files: names in the annotation file.
        annotations: its path, for messages.

    Raises:
        UsageError: no such folder, images that are not there, or two entries of one file.
    """
    if not os.path.isdir(folder):
        raise UsageError(f"There is no folder {folder}: set root to the folder of the images of {annotations}.")
    listed = [files[place] for place in range(len(files))]
    names = [name if _is_file(folder, name) else next(_shorter(folder, name), None) for name in listed]
    if None in names:
        by_name = _by_name(folder)
        names = [name or by_name.get(_last(each)) for name, each in zip(names, listed, strict=True)]
    missing = [each for name, each in zip(names, listed, strict=True) if name is None]
    if missing:
        first = f"first: {missing[0]}; in the folder: {_shown(folder)}"
        raise UsageError(
            f"{len(missing)} of {len(listed)} images that {annotations} lists are not in {folder} ({first}): set root "
            "to their folder, or remove them from the file."
        )
    chosen = [str(name) for name in names]
    moved = [pair for pair in zip(listed, chosen, strict=True) if pair[0] != pair[1]]
    if moved:
        _check_different(listed, chosen, annotations)
    packed = Names.of([os.fsencode(name) for name in chosen])
    return Located(packed, len(moved), moved[0]) if moved else Located(packed)


def _is_file(folder: str, name: str) -> bool:
    return os.path.isfile(os.path.join(folder, name))


def _shorter(folder: str, name: str) -> Iterator[str]:
    """Yield the ends of a name, the longest first, that are files in the folder."""
    for text in dict.fromkeys((name, unquote(name))):
        parts = [part for part in _SEPARATORS.split(text) if part]
        ends = (os.path.join(*parts[start:]) for start in range(len(parts)))
        yield from (end for end in ends if _is_file(folder, end))


def _last(name: str) -> str:
    return _SEPARATORS.split(unquote(name))[-1].lower()


def _by_name(folder: str) -> dict[str, str]:
    """Return the files below a folder by their last name in lower case, those that share it left out."""
    by_name: dict[str, str | None] = {}
    try:
        index = index_files(folder)
    except UsageError:  # no image at all
        return {}
    for place in range(len(index)):
        name = index.names[place]
        key = os.path.basename(name).lower()
        by_name[key] = None if key in by_name else name
    return {key: name for key, name in by_name.items() if name}


def listed_images(path: str | Path, files: Names, folder: str) -> list[int]:
    """Return the places of the images that a list names, ascending.

    Args:
        path: text file with a name or path a line, with or without an ending; what stands behind a space, as in the
            lists of Pascal VOC's classes, is left out.
        files: the images.
        folder: where they are, for the message.

    Raises:
        UsageError: the list cannot be read, is empty, or names an image that is not there.
    """
    text = read_text(path, "a list of images, one a line")
    entries = [line.strip() for line in text.splitlines() if line.strip()]
    place_of = {os.path.splitext(files[place])[0]: place for place in range(len(files))}
    found = [next((place_of[end] for end in _ends(entry) if end in place_of), None) for entry in entries]
    missing = [entry for entry, place in zip(entries, found, strict=True) if place is None]
    if missing or not entries:
        first = f" (first: {missing[0]})" if missing else ""
        raise UsageError(
            f"{len(missing)} of {len(entries)} images that {path} names are not among the {len(files)} in "
            f"{folder}{first}: correct the list or the folder."
        )
    return sorted({place for place in found if place is not None})


def _ends(entry: str) -> Iterator[str]:
    """Yield what may be the name of an image in a line of a list, without its ending: the longest first."""
    for text in dict.fromkeys((entry, entry.split()[0])):
        for whole in dict.fromkeys((os.path.splitext(text)[0], text)):
            parts = [part for part in _SEPARATORS.split(whole) if part not in ("", ".", "..")]
            yield from ("/".join(parts[start:]) for start in range(len(parts)))


def _check_different(listed: list[str], chosen: list[str], annotations: str | Path) -> None:
    first: dict[str, str] = {}
    for name, each in zip(chosen, listed, strict=True):
        other = first.setdefault(os.path.normpath(name), each)
        if other != each:
            raise UsageError(
                f"{annotations} lists {other} and {each}, but of both only {name} is in the folder of the images: set "
                "root to the folder that holds both."
            )


def _shown(folder: str) -> str:
    with os.scandir(folder) as entries:
        names = sorted(entry.name + "/" * entry.is_dir() for entry, _ in zip(entries, range(1000), strict=False))
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "nothing"
