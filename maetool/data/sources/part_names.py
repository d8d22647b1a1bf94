"""Names of the parts of a data set: training, validation, test."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from maetool.errors import UsageError

from .tables.columns import Columns

PARTS = {
    "train": ("train", "training", "trn", "trainset", "traindata"),
    "val": ("val", "valid", "validation", "validate", "valset", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "tst", "testset", "publictest", "privatetest", "holdout"),
}
_PART_OF = {word: part for part, words in PARTS.items() for word in words}
_BESIDE = {
    "image",
    "images",
    "img",
    "imgs",
    "data",
    "dataset",
    "set",
    "split",
    "part",
    "folder",
    "labels",
    "label",
    "classes",
    "public",
    "private",
}
CONTENT = {
    *("images", "image", "img", "imgs", "jpegimages", "pictures", "photos", "labels", "label", "masks", "mask"),
    *("annotations", "annotation", "segmentation", "segmentations", "gt"),
}
# Folders of what is known about the images, which may be named like a part too: `train_masks`.
_TRUTHS = {*CONTENT, *("truth", "groundtruth", "csv", "json", "xml", "txt")} - {"images", "image", "img", "imgs"}
_TRUTHS -= {"jpegimages", "pictures", "photos"}
SPLIT_COLUMNS = ("split", "fold", "subset", "partition", "set", "part", "usage", "data_split", "dataset_split")
# Words of names of columns that may hold parts, or something else, which their cells tell.
_MAY_SPLIT = {*SPLIT_COLUMNS, "splits", "phase", "mode", "stage", "dataset", "datatype", "purpose"}
_SHORT = {"tr": "train", "va": "val", "ts": "test", "te": "test"}  # in columns, and after `images` or `labels`
_BOTH = ("trainval", "traintest", "traindev", "trainvalid")  # which train beside the part that is left
_LOOKED_AT, _MOST_WORDS = 1000, 50  # cells of a column, and different ones if they name parts
_TRUTH = {"1": 0, "1.0": 0, "true": 0, "yes": 0, "0": 1, "0.0": 1, "false": 1, "no": 1}


@lru_cache(2**16)
def part_of(name: str) -> str | None:
    """Return "train", "val" or "test" for a usual name of such a part in any case; None for any other name.

    Years and words such as `images` may stand beside it: `train2017`, `images-Train`, `VAL_data`.
    """
    return _part_of_words(_words(name))


def parts_of(names: Iterable[str]) -> list[str] | None:
    """Return the part that each of some names is of, words aside that all of them share; None where one is of none.

    So `imagenet-train-000` and `imagenet-val-000` are of parts.
    """
    words = [_words(name) for name in names]
    shared = set.intersection(*map(set, words)) - _PART_OF.keys() if words else set()
    parts = [_part_of_words([word for word in each if word not in shared]) for each in words]
    return None if None in parts else [part for part in parts if part]


def parts_are_first(names: Sequence[str], split: str | None = None) -> bool:
    """Return whether the first folders of all paths are parts, so that they are no classes.

    Args:
        names: the paths.
        split: the part that they were chosen by, of which all folders are; None, two parts or more are needed.
    """
    if not names or not all(part_among(name.split("/")[0]) for name in (names[0], names[-1])):
        return False
    first = {name.partition("/")[0] if "/" in name else "" for name in names}
    if split is not None:
        return all(part_among(name) == split for name in first)
    parts = parts_among(first)
    return parts.keys() == first and "train" in parts.values() and len({*parts.values()}) > 1


def part_in_path(name: str) -> tuple[str | None, str]:
    """Return the part that the first folder of such a name in a path names, and the path without it."""
    *folders, file = name.split("/")
    for place, folder in enumerate(folders):
        part = part_of(folder)
        if part:
            return part, "/".join([*folders[:place], *folders[place + 1 :], file])
    return None, name


def parts_among(names: Iterable[str]) -> dict[str, str]:
    """Return the part that each of some names in one place is of, without those that are of none.

    Beside the usual names, these may share words, such as `seg_train` and `seg_test`. `trainval` trains where nothing
    else does, and folders of labels, such as `train_masks`, are of no part where there is one of images.

    Args:
        names: folders, files without their endings, or cells of a column.
    """
    names = list(names)
    parts = {name: part for name in names if (part := part_of(name))}
    if "train" not in parts.values():
        both = [name for name in names if "".join(_words(name)) in _BOTH]
        parts |= dict.fromkeys(both[:1], "train") if parts or len(names) == 1 else {}
    if not parts:
        parts = _parts_of_same_words(names)
    of_images = {part for name, part in parts.items() if not _TRUTHS & {*_words(name)}}
    return {name: part for name, part in parts.items() if part not in of_images or not _TRUTHS & {*_words(name)}}


def _parts_of_same_words(names: Iterable[str]) -> dict[str, str]:
    """Return the parts of names that have all words but that of the part in common, for training and something else."""
    by_rest: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        if part := part_among(name):
            by_rest.setdefault(tuple(word for word in _words(name) if word not in _PART_OF), {})[name] = part
    groups = [group for group in by_rest.values() if "train" in group.values() and len({*group.values()}) > 1]
    return {name: part for group in groups for name, part in group.items()}


def _words(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("held_out", "holdout")
    return [part for word in re.split(r"[\W\d_]+", apart) if word for part in _unglued(word)]


@lru_cache(2**12)
def _unglued(word: str) -> tuple[str, ...]:
    """Return the words of one such as `trainimages` or `testset`; any other as it is."""
    if word in _PART_OF or word in _BESIDE:
        return (word,)
    for beside in _BESIDE:
        for rest, pair in (
            (word.removesuffix(beside), (word.removesuffix(beside), beside)),
            (word.removeprefix(beside), (beside, word.removeprefix(beside))),
        ):
            if rest in _PART_OF:
                return pair
    return (word,)


def _part_of_words(words: list[str]) -> str | None:
    if len(words) == 2 and words[0] in CONTENT and words[1] in _SHORT:  # imagesTr, labelsTs
        return _SHORT[words[1]]
    parts = {_PART_OF[word] for word in words if word in _PART_OF}
    rest = [word for word in words if word not in _PART_OF and word not in _BESIDE]
    return parts.pop() if len(parts) == 1 and not rest else None


def part_among(name: str) -> str | None:
    """Return the part whose usual name is one of the words of a file's name, as in `instances_train2017`; else None."""
    parts = {_PART_OF[word] for word in _words(name) if word in _PART_OF}
    return parts.pop() if len(parts) == 1 else None


def split_column_of(table: Columns) -> str | None:
    """Return the column of `table` that holds the parts of the data set, or None.

    It has a usual name such as `split` or `is_train`, or one such as `phase`, and cells that name parts.
    """
    by_name = {"_".join(_words_of_column(name)): name for name in reversed(table.header)}
    usual = [by_name[name] for name in SPLIT_COLUMNS if name in by_name]
    usual += [name for name in table.header if _flag_of(name)]
    maybe = [name for name in table.header if _MAY_SPLIT & {*_words_of_column(name)} and name not in usual]
    for name in (*usual, *maybe):
        parts = parts_in_column(name, table.column(table.header.index(name)))
        # The mode of transport may be `train`.
        if parts is not None and (name in usual or len({*parts} - {""}) > 1):
            return name
    return usual[0] if usual else None


def _words_of_column(name: str) -> list[str]:
    return [word for word in re.split(r"[\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if word]


def _flag_of(column: str) -> tuple[str, str] | None:
    """Return the parts of a true and of a false cell in a column of a name such as `is_train`; None for others."""
    first, *rest = _words_of_column(column) or [""]
    part = _part_of_words(rest) if first in ("is", "in") else None
    return (part, "val" if part == "train" else "train") if part else None


def parts_in_column(column: str, cells: Sequence[str]) -> list[str] | None:
    """Return the part that each cell of a column names, "" for none; None where it holds something else, as folds.

    Args:
        column: its name, which may be a flag such as "is_train".
        cells: of the column.
    """
    if flag := _flag_of(column):
        truths = [_TRUTH.get(cell.strip().lower()) for cell in cells]
        return None if None in truths else [flag[truth] for truth in truths if truth is not None]
    words = {cell.strip() for cell in cells[:_LOOKED_AT]}
    if len(words) > _MOST_WORDS:
        return None
    words |= {cell.strip() for cell in cells}
    parts = parts_among(words) or {word: _SHORT[word.lower()] for word in words if word.lower() in _SHORT}
    named = [parts.get(cell.strip(), "") for cell in cells]
    return named if "train" in named or all(named) else None


def check_part(split: str) -> None:
    """Check the value of an argument `split`.

    Raises:
        UsageError: it is no part.
    """
    if split not in PARTS:
        raise UsageError(f'split is {split!r}, but must be "train", "val" or "test", or None for all images.')
