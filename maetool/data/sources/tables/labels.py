"""Labels in a table: one column of classes, or a column of 0 and 1 for each class."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import torch

from maetool.errors import UsageError

from ..base import Labels
from .columns import FORMS, Columns
from .unknown import REGRESSION, UnknownLabels, number_in, refuse_measurements

_logger = logging.getLogger("maetool")
_USUAL = ("label", "labels", "class", "class_name", "classname", "category", "target")
# What programs also write there, and what may be a class.
_PERHAPS_NOTHING = ("-1", "-1.0", "?", "-", "na", "none", "unknown", "unlabeled", "unlabelled", "uncertain")
_DIGITS = 100  # a label of more is a word; Python refuses to read numbers of thousands
_NOTHING = ("", "nan", "n/a", "#n/a", "<na>", "null")  # what programs write where a label is missing


def labels_of_table(
    table: Columns,
    path: str,
    no_class: Sequence[str | None],
    unknown: UnknownLabels,
    chosen: str | Sequence[str] | None = None,
) -> Labels:
    """Return the labels of a table.

    Args:
        table: the table.
        path: name of its column of paths.
        no_class: further columns that are no classes.
        unknown: what cells without a 0 or 1 mean.
        chosen: the column of classes, or a list of columns of 0 and 1; None takes the column with a usual name such as
            `label`, or else all columns that may be classes.

    Raises:
        UsageError: no such column, or cells that are no labels.
    """
    if isinstance(chosen, str):
        return _single(table, _known(table, [chosen])[0], path)
    if chosen is not None:
        return _several(table, _known(table, chosen), unknown)
    columns = [name for name in table.header if name not in (path, *no_class) and not _is_index(name)]
    usual = usual_column(table, columns, unknown)
    return _single(table, usual, path) if usual else _several(table, columns, unknown)


def _is_index(column: str) -> bool:
    """Return whether a column has no name, as that in which pandas numbers the rows."""
    return not column or column.startswith("Unnamed: ")


def usual_column(table: Columns, columns: Sequence[str], unknown: UnknownLabels) -> str | None:
    """Return the column of one label for each image by its usual name; `label` first, others unless of 0 and 1.

    Args:
        table: the table.
        columns: names of its columns that may be it.
        unknown: how uncertain labels are written.
    """
    by_name = {name.lower().replace(" ", "_"): name for name in reversed(columns)}
    for usual in (name for name in _USUAL if name in by_name):
        name = by_name[usual]
        if usual == "label" or any(unknown.read(cell) is None and cell not in _NOTHING for cell in _cells(table, name)):
            return name
    return None


def _cells(table: Columns, name: str) -> list[str]:
    """Return the cells of a column without the spaces around them."""
    return [cell.strip() for cell in table.column(table.header.index(name))]


def _known(table: Columns, names: Sequence[str]) -> list[str]:
    absent = [name for name in names if name not in table.header]
    if absent or not names:
        wrong = f"`{absent[0]}`" if absent else "no column"
        raise UsageError(
            f"label_columns names {wrong}, but {table.path} has the columns {', '.join(table.header)}: name some of "
            "them."
        )
    return list(names)


def _single(table: Columns, column: str, path: str) -> Labels:
    cells = _cells(table, column)
    empty = [name for name, cell in zip(_cells(table, path), cells, strict=True) if cell.lower() in _NOTHING]
    if empty:
        raise UsageError(
            f"{len(empty)} of {len(cells)} rows of {table.path} have no {column} (first {empty[0]}): fill them in, or "
            "leave these rows out."
        )
    joined = [cell for cell in cells if "|" in cell or ";" in cell or cell[0] + cell[-1] == "[]"]
    if joined:
        raise UsageError(
            f"{table.path} has the {column} `{joined[0]}`: several labels of an image are written as columns of 0 and "
            "1, one for each class, with the header `path,CLASS,CLASS,...`."
        )
    refuse_measurements(table.path, cells, column)
    whole = all(cell.removeprefix("-").isdecimal() and len(cell) <= _DIGITS for cell in cells)
    cells = [normalize("NFC", cell) for cell in cells]
    # 007 and 7 are two classes, in one order.
    classes = sorted(set(cells), key=(lambda cell: (int(cell), cell)) if whole else None)
    if len(classes) == 1:
        raise UsageError(f"{table.path} has only the class `{classes[0]}`: labels need two or more classes.")
    label_of = {name: label for label, name in enumerate(classes)}
    return Labels(classes, torch.tensor([label_of[cell] for cell in cells]))


def tell_of_classes(table: str | Path, labels: Labels) -> None:
    """Warn of classes that may be one, and of one that may mean that the label is not known.

    Args:
        table: what to call the table.
        labels: its labels, as read or as remembered.
    """
    if labels.values.ndim == 1:
        _tell_of_alike(table, labels.classes)
        _tell_of_unknown(table, labels)


def _tell_of_unknown(table: str | Path, labels: Labels) -> None:
    perhaps = [place for place, name in enumerate(labels.classes) if name.lower() in _PERHAPS_NOTHING]
    if perhaps and len(labels.classes) > 2:
        _logger.warning(
            "%d of %d rows of %s have the label `%s`, which is used as a class: leave these rows out if it means that "
            "the label is not known.",
            *(int((labels.values == perhaps[0]).sum()), len(labels.values), table, labels.classes[perhaps[0]]),
        )


def _tell_of_alike(table: str | Path, classes: Sequence[str]) -> None:
    """Warn of classes whose names differ in the case of letters, or in zeros before numbers, alone."""
    by_form: dict[str, list[str]] = {}
    for name in classes:
        by_form.setdefault(re.sub(r"\b0+(?=\d)|(?<=\d)\.0+$", "", name.casefold()), []).append(name)
    alike = [names for names in by_form.values() if len(names) > 1]
    if alike:
        _logger.warning(
            "%s has the classes %s, which are kept apart: give them one name if they are one class.",
            table,
            " and ".join(f"`{name}`" for name in alike[0]),
        )


def _several(table: Columns, columns: Sequence[str], unknown: UnknownLabels) -> Labels:
    if not columns:
        raise UsageError(
            f"{table.path} has the columns {', '.join(table.header)} but none of classes: expected {FORMS}."
        )
    read = {name: [unknown.read(cell) for cell in _cells(table, name)] for name in columns}
    for name, cells in read.items():
        if None in cells:
            _refuse_column(table, name, cells.index(None), unknown)
    values = torch.tensor(list(read.values()), dtype=torch.float32).T.contiguous()
    if values.isnan().all():
        raise UsageError(f"{table.path} has no 0 and no 1, so that all its labels are unknown: fill some in.")
    known = values[~values.isnan()]
    if len(columns) == 1 and known.unique().numel() == 1:
        raise UsageError(
            f"The only class column of {table.path}, `{columns[0]}`, is {known[0]:g} in every row: give it 0 and 1."
        )
    return Labels(list(columns), values)


def _refuse_column(table: Columns, name: str, row: int, unknown: UnknownLabels) -> None:
    """Refuse a column that holds something other than 0 and 1, and say what it may be instead."""
    cells = [cell for cell in _cells(table, name) if cell.lower() not in _NOTHING]
    refuse_measurements(table.path, cells, name)
    cell = _cells(table, name)[row]
    hint = _policy(cell)
    numbers = all(number_in(each) is not None for each in cells)
    if not hint and (numbers or all(unknown.read(each) is None for each in cells)):
        other = (
            f", and if it holds numbers to predict, use an ImageRegressor, as in maetool::{REGRESSION}, with "
            f"dataset.targets={name}"
        ) * numbers
        hint = f"if it holds one class for each image, set dataset.label_columns={name}{other}; "
    hint = hint or "name the columns of classes in dataset.label_columns if this is none; "
    raise UsageError(
        f"Row {table.first_row + row} of {table.path} has `{cell}` in the column `{name}`, but columns of classes "
        f"hold 0 or 1 only: {hint}expected {FORMS}."
    )


def _policy(cell: str) -> str:
    """Return the way to read a table with such cells."""
    option = UnknownLabels.option_for(cell)
    return f"set dataset.{option} to ignore, zeros or ones where that is a label that is not known; " if option else ""
