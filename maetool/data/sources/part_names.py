"""Names of the parts of a data set: training, validation, test."""

import re
from collections.abc import Iterable
from functools import lru_cache

from maetool.errors import UsageError

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
}
CONTENT = {
    *("images", "image", "img", "imgs", "jpegimages", "pictures", "photos", "labels", "label", "masks", "mask"),
    *("annotations", "annotation", "segmentation", "segmentations", "gt"),
}
SPLIT_COLUMNS = ("split", "fold", "subset", "partition", "set", "part", "usage", "data_split", "dataset_split")
_FLAGS = {"is_train": ("train", "val"), "is_training": ("train", "val"), "is_val": ("val", "train")}
_FLAGS |= {"is_valid": ("val", "train"), "is_validation": ("val", "train"), "is_test": ("test", "train")}
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


def part_in_path(name: str) -> tuple[str | None, str]:
    """Return the part that the first folder of such a name in a path names, and the path without it."""
    *folders, file = name.split("/")
    for place, folder in enumerate(folders):
        part = part_of(folder)
        if part:
            return part, "/".join([*folders[:place], *folders[place + 1 :], file])
    return None, name


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W\d_]+", name.lower().replace("held_out", "holdout")) if word]


def _part_of_words(words: list[str]) -> str | None:
    parts = {_PART_OF[word] for word in words if word in _PART_OF}
    rest = [word for word in words if word not in _PART_OF and word not in _BESIDE]
    return parts.pop() if len(parts) == 1 and not rest else None


def part_among(name: str) -> str | None:
    """Return the part whose usual name is one of the words of a file's name, as in `instances_train2017`; else None."""
    parts = {_PART_OF[word] for word in re.split(r"[\W\d_]+", name.lower()) if word in _PART_OF}
    return parts.pop() if len(parts) == 1 else None


def split_column_of(header: Iterable[str]) -> str | None:
    """Return the column in `header` whose usual name says that it holds the parts of the data set, or None."""
    by_name = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in header}
    return next((by_name[name] for name in (*SPLIT_COLUMNS, *_FLAGS) if name in by_name), None)


def parts_in_column(column: str, cells: Iterable[str]) -> list[str] | None:
    """Return the part that each cell of a column names; None where one names none, as numbers of folds do.

    Args:
        column: its name, which may be a flag such as "is_train".
        cells: of the column.
    """
    flag = _FLAGS.get(column.strip().lower().replace(" ", "_").replace("-", "_"))
    if flag:
        truths = [_TRUTH.get(cell.strip().lower()) for cell in cells]
        return None if None in truths else [flag[truth] for truth in truths if truth is not None]
    parts = [part_of(cell) for cell in cells]
    return None if None in parts else [part for part in parts if part]


def check_part(split: str) -> None:
    """Check the value of an argument `split`.

    Raises:
        UsageError: it is no part.
    """
    if split not in PARTS:
        raise UsageError(f'split is {split!r}, but must be "train", "val" or "test", or None for all images.')
