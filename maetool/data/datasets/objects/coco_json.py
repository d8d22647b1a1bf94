"""COCO's annotation files as JSON: read, and each value that is used checked for its kind."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maetool.errors import UsageError
from maetool.reading import read_file

# Ways in which programs write the flag.
_FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True, "no": False, "yes": True}
# Keys of the flag; what is to be ignored is neither right nor wrong, as a crowd.
_CROWD = ("iscrowd", "is_crowd", "isCrowd", "ignore")


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return _is_name(value) and bool(value.strip())
    return (type(value) is int and abs(value) < 2**63) or (type(value) is float and value.is_integer())


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**31


def _is_path(value: Any) -> bool:
    try:
        return isinstance(value, str) and 0 not in os.fsencode(value) and bool(value)
    except UnicodeEncodeError:  # half of a character, which JSON can hold
        return False


def _is_name(value: Any) -> bool:
    return type(value) in (int, float) or (isinstance(value, str) and value.splitlines() == [value])


def _is_length(value: Any) -> bool:
    return type(value) in (int, float) and -1e9 < value < 1e9  # nor is NaN


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_length, value))


_ID, _SIDE = (_is_id, "a whole number or a name of one line"), (_is_side, "a whole number of pixels, at least 1")
_BOX = (_is_box, "left, top, width and height in pixels")
_NEEDED = {
    "images": {"id": _ID, "file_name": (_is_path, "a path"), "height": _SIDE, "width": _SIDE},
    "annotations": {"image_id": _ID, "category_id": _ID, "bbox": _BOX},
    "categories": {"id": _ID, "name": (_is_name, "a name of one line")},
}
_EXAMPLE = "; a COCO annotation file has lists of images, annotations and categories"


def load_coco(path: Path) -> dict[str, Any]:
    """Return the content of the annotation file `path`, whose entries have what is needed, each of its kind.

    Annotations get an `id`, their place, if they have none. `iscrowd` is a bool, true also of what is to
    be ignored, and `area` a number of pixels, that of the box where it is not known.

    Raises:
        UsageError: a file that cannot be read or is no such file, or an entry of another kind.
    """
    try:
        content = json.loads(read_file(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name a COCO annotation file.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON file ({error}): name a COCO annotation file.") from error
    for section, kinds in _NEEDED.items():
        entries = content.get(section) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise UsageError(f"{path} has no list `{section}`{_EXAMPLE}.")
        for place, entry in enumerate(entries):
            _check_entry(entry, kinds, f"{path}: entry {place} of `{section}`")
    if not content["images"] or not content["categories"]:
        raise UsageError(f"{path} lists {len(content['images'])} images and {len(content['categories'])} categories.")
    for place, annotation in enumerate(content["annotations"]):
        _complete(annotation, place, path)
    return content


def _check_entry(entry: Any, kinds: Mapping[str, Any], start: str) -> None:
    missing = [key for key in kinds if not isinstance(entry, dict) or key not in entry]
    if missing:
        raise UsageError(f"{start} has no `{missing[0]}`{_EXAMPLE}.")
    for key, (fits, kind) in kinds.items():
        if not fits(entry[key]):
            raise _of_another_kind(start, key, entry[key], kind)


def _complete(annotation: dict[str, Any], place: int, path: Path) -> None:
    number = annotation.setdefault("id", place)
    if not _is_id(number):
        raise _of_another_kind(f"{path}: entry {place} of `annotations`", "id", number, _ID[1])
    start = f"{path}: annotation {number}"
    flags = [_flag(start, key, annotation.get(key)) for key in _CROWD]
    annotation["iscrowd"] = any(flags)
    area = annotation.get("area")
    if area is None or area == 0:  # as programs write that do not know it
        area = annotation["bbox"][2] * annotation["bbox"][3]
    if type(area) not in (int, float) or not abs(area) < 1e18:
        raise _of_another_kind(start, "area", area, "a number of pixels")
    annotation["area"] = area


def _flag(start: str, key: str, value: Any) -> bool:
    if value is None:
        return False
    word = str(value).strip().lower() if isinstance(value, int | float | str) else ""
    if word not in _FLAGS:
        raise _of_another_kind(start, key, value, "0 or 1")
    return _FLAGS[word]


def _of_another_kind(start: str, key: str, value: Any, kind: str) -> UsageError:
    short = isinstance(value, str | float | int | list) and len(str(value)[:100]) < 100
    shown = repr(value) if short else "something long"
    return UsageError(f"{start} has the {key} {shown}, but it must be {kind}.")


def places_of(entries: Sequence[Mapping[str, Any]], kind: str, path: str | Path) -> dict[str, int]:
    """Return the text of each id to the place of its entry; 7, 7.0 and "7" are one id.

    Args:
        entries: a list of an annotation file.
        kind: what it lists, for the message.
        path: the file, for the message.

    Raises:
        UsageError: an id is given twice.
    """
    places: dict[str, int] = {}
    for place, entry in enumerate(entries):
        identity = text_of(entry["id"])
        if places.setdefault(identity, place) != place:
            raise UsageError(f"{path}: the {kind} id {identity} is given twice: give each {kind} an id of its own.")
    return places


def text_of(identity: float | str) -> str:
    """Return an id, `identity`, as text, because programs write one id as a number here and as a word there."""
    return identity.strip() if isinstance(identity, str) else str(int(identity))
