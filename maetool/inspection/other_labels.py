"""Files of labels by what they begin with: boxes of YOLO and of Pascal VOC, and those of programs that are not read."""

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from maetool.reading import read_head

from .findings import Finding

_TRIED = 5  # files of each ending
_HEAD = 4096
_YOLO = re.compile(r"\d+(\s+-?[\d.]+(e-?\d+)?){4,}\s*", re.IGNORECASE)


def findings_of_other_labels(root: Path) -> list[Finding]:
    """Return a sentence for each kind of labels of other programs below the folder `root`."""
    found = []
    for ending, is_kind, name in _KINDS:
        files = list(_files(root, ending))
        there = [path for path in files[:_TRIED] if is_kind(read_head(path, _HEAD))]
        if there:
            number = len(files) if len(there) == min(_TRIED, len(files)) else len(there)
            found.append(
                Finding(
                    "warning",
                    "objects",
                    f"{number:,} {ending} files such as {there[0]} hold {name}, which are not read: export or convert "
                    "them as COCO's annotation files, one for each part.",
                )
            )
    return found


def _files(root: Path, ending: str) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(ending) and name.lower() not in ("classes.txt", "readme.txt"):
                yield Path(folder, name)


def _is_yolo(head: bytes) -> bool:
    lines = [line for line in head.decode("utf-8", "replace").splitlines()[:20] if line.strip()]
    return bool(lines) and all(_YOLO.fullmatch(line.strip() + " ") for line in lines[: max(1, len(lines) - 1)])


def _is_voc(head: bytes) -> bool:
    return b"<annotation" in head and b"<object" in head


def _is_labelme(head: bytes) -> bool:
    return b'"shapes"' in head and (b'"imagePath"' in head or b'"points"' in head) and head.lstrip()[:1] == b"{"


def _is_via(head: bytes) -> bool:
    return b'"regions"' in head and b'"shape_attributes"' in head


def holds_boxes(folder: Path) -> bool:
    """Return whether files in a folder hold boxes of YOLO or of Pascal VOC."""
    for ending, is_kind in ((".txt", _is_yolo), (".xml", _is_voc)):
        heads = [read_head(path, _HEAD) for path in islice(_files(folder, ending), _TRIED)]
        if any(is_kind(head) for head in heads if head.strip()):
            return True
    return False


_KINDS = (
    (".json", _is_labelme, "outlines of labelme"),
    (".json", _is_via, "regions of the VGG annotator"),
)
