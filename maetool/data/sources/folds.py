"""Numbered folds of a data set, for cross-validation: in a column of a table, or in names of folders."""

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from maetool.errors import UsageError

_FOLDER = re.compile(r"(?i)(?:cv[\W_]*)?folds?[\W_]*(\d{1,3})")
_CELL = re.compile(r"(?i)(?:(?:cv[\W_]*)?folds?[\W_]*)?(\d{1,3})(?:\.0)?")
_COLUMNS = ("fold", "folds", "fold_id", "fold_number", "cv_fold", "kfold", "k_fold", "strat_fold", "split")
_MOST = 100  # more numbers than that are no folds


def fold_of(folder: str) -> int | None:
    """Return the number of a fold's folder, such as `fold_0`, `Fold1` or `cv-fold-3`; None for any other name."""
    match = _FOLDER.fullmatch(folder)
    return int(match[1]) if match else None


def folds_in_paths(names: Iterable[str]) -> list[int | None]:
    """Return the fold of each path in `names`, from the first folder in it that is one; None without."""
    return [next((f for part in name.split("/")[:-1] if (f := fold_of(part)) is not None), None) for name in names]


def folds_are_first(names: Iterable[str]) -> bool:
    """Return whether the first folders of all paths in `names` are folds, two or more, so that they are no classes."""
    folds = set()
    for name in names:
        fold = fold_of(name.split("/")[0]) if "/" in name else None
        if fold is None:
            return False
        folds.add(fold)
    return len(folds) > 1


def fold_column_of(header: Iterable[str]) -> str | None:
    """Return the column in `header` whose usual name says that it may hold folds, or None."""
    by_name = {re.sub(r"[\W_]+", "_", name.strip().lower()): name for name in header}
    return next((by_name[name] for name in _COLUMNS if name in by_name), None)


def folds_in_column(cells: Sequence[str]) -> list[int] | None:
    """Return the fold of each of the `cells`; None where one is no number of a fold, or all are of one."""
    matches = [_CELL.fullmatch(cell.strip()) for cell in cells]
    folds = [int(match[1]) for match in matches if match]
    return folds if len(folds) == len(cells) and 1 < len(set(folds)) <= _MOST else None


def in_fold(fold: int, folds: Sequence[int | None], where: str) -> Tensor:
    """Return which images are of a fold, bool (N,).

    Args:
        fold: its number.
        folds: those of the images.
        where: what they are of, for the message.

    Raises:
        UsageError: there is no such fold.
    """
    if fold not in folds or len(set(folds)) == 1:
        known = ", ".join(map(str, sorted({each for each in folds if each is not None}))) or "none"
        raise UsageError(
            f"fold is {fold}, but the folds of {where} are {known}: choose one of them, or set fold=None to hold out a "
            "fifth."
        )
    return torch.tensor([each == fold for each in folds])
