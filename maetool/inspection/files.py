"""Which files are used, and why the others are not."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from maetool.data.codecs.endings import IMAGE_EXTENSIONS, ending_of, hint_for
from maetool.data.sources.base import Source
from maetool.errors import printable

from .findings import Finding

_REASONS = {
    "a table, a text or settings": (
        *(".txt", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".md", ".html", ".ini", ".cfg", ".log", ".db"),
        *(".xlsx", ".xls", ".doc", ".docx", ".py", ".ipynb", ".sh", ".license", ".readme", ".dat"),
    ),
    "an archive: unpack it, or pass it as the data itself": (
        *(".zip", ".tar", ".gz", ".tgz", ".tar.gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".cbz"),
    ),
    "a video: write its frames as images": (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".wmv", ".mpg", ".mpeg"),
    "a camera's raw file: save it as TIFF or PNG": (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"),
    "a container of arrays: write one .npy file for each image": (
        ".npz",
        ".mat",
        ".h5",
        ".hdf5",
        ".zarr",
        ".nc",
        ".fits",
    ),
    "a file that can run code: write one .npy file for each image": (".pkl", ".pickle", ".pt", ".pth", ".joblib"),
    "a drawing: save it as PNG": (".svg", ".pdf", ".eps", ".ai", ".psd", ".xcf"),
    "a microscope's format: export it as TIFF": (
        *(".czi", ".nd2", ".lif", ".svs", ".ndpi", ".vsi", ".scn", ".mrxs", ".oib", ".oif", ".lsm"),
    ),
    "a table with images inside: `HuggingFaceSource` reads it": (".parquet", ".arrow"),
}
_REASON_OF = {ending: reason for reason, endings in _REASONS.items() for ending in endings}
_UNUSED = "an image outside of the parts in use"
_HIDDEN = "a hidden file"
_NO_ENDING = "without an ending"


@dataclass
class Files:
    """The files of a data set.

    Attributes:
        used: ending to the number of images in use, in all parts.
        truth: ending to the number of files of labels, masks and annotations in use.
        passed_over: ending and reason to the number of files.
        empty_folders: folders without any file.
    """

    used: Counter[str] = field(default_factory=Counter)
    truth: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[tuple[str, str]] = field(default_factory=Counter)
    empty_folders: list[str] = field(default_factory=list)


def count_files(root: Path, sources: Mapping[str, Source], truth: Collection[str]) -> Files:
    """Return which files there are at `root`, by their endings.

    Args:
        root: the data; of anything but a folder, only the images in use are counted.
        sources: the images in use.
        truth: files in use that hold labels, and folders of such, as absolute paths.
    """
    found, used = Files(), set[str]()
    for source in sources.values():
        for index in range(len(source)):
            path = source.path(index)
            found.used[ending_of(source.relative(index)) or _NO_ENDING] += path not in used
            used.add(path)
    if root.is_dir():
        packed = not any(os.path.exists(path) for path in used)  # as in archives, whose files are in use
        _add_others(found, os.path.abspath(root), used, truth, packed)
    return found


def _add_others(found: Files, root: str, used: Collection[str], truth: Collection[str], packed: bool) -> None:
    below = tuple(path + os.sep for path in truth)
    for folder, names, empty in _folders_below(root):
        if empty:
            found.empty_folders.append(os.path.relpath(folder, root))
        for name in names:
            path = os.path.join(folder, name)
            ending = ending_of(name)
            if path in used or (packed and ending not in IMAGE_EXTENSIONS):
                continue
            if path in truth or path.startswith(below):
                found.truth[ending or _NO_ENDING] += 1
            else:
                found.passed_over[ending or _NO_ENDING, _reason(path, name, ending)] += 1


def _folders_below(root: str) -> Iterator[tuple[str, list[str], bool]]:
    """Yield each folder below the root once, links followed, with its files, and whether it has nothing at all."""
    visited: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield folder, names, not folders and not names


def _reason(path: str, name: str, ending: str) -> str:
    if name.startswith(".") or name in ("Thumbs.db", "desktop.ini"):
        return _HIDDEN
    if ending in IMAGE_EXTENSIONS:
        return "a link to nothing" if not os.path.exists(path) else _UNUSED
    hint = hint_for(ending)
    if hint:
        return f"{hint.strip(' ()')} reads it"
    return _REASON_OF.get(ending, "not a known image")


def findings_of_files(files: Files) -> list[Finding]:
    """Return what is worth saying about the files that are not used."""
    found, by_reason = [], Counter[str]()
    for (_, reason), count in files.passed_over.items():
        by_reason[reason] += count
    for reason, count in by_reason.most_common():
        if reason in (_HIDDEN, next(iter(_REASONS))):
            continue
        endings = ", ".join(sorted({ending for ending, why in files.passed_over if why == reason}))
        each = "file is" if count == 1 else "files are"
        found.append(Finding("warning", "files", f"{count:,} {each} passed over ({endings}): {reason}."))
    if files.empty_folders:
        first = printable(files.empty_folders[0])
        number = len(files.empty_folders)
        found.append(Finding("note", "files", f"{number:,} empty folder{'s' * (number > 1)}, the first is {first}."))
    return found
