"""Numbers in a table that are to be predicted."""

import re
from collections.abc import Sequence

import torch

from maetool.errors import UsageError

from ..base import Measurements
from .columns import Columns
from .unknown import UnknownLabels, number_in

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")


def read_measurements(table: Columns, targets: str | Sequence[str], unknown: UnknownLabels) -> Measurements:
    """Return the numbers in columns of a table.

    Args:
        table: the table.
        targets: name of one column, or names of several.
        unknown: empty cells and NaN are NaN with `missing="ignore"`.

    Raises:
        UsageError: no such column, a cell that is not a finite number, or a column of one value.
    """
    names = [targets] if isinstance(targets, str) else list(targets)
    absent = [name for name in names if name not in table.header]
    if absent or not names:
        wrong = f"`{absent[0]}`" if absent else "no column"
        raise UsageError(
            f"targets names {wrong}, but {table.path} has the columns {', '.join(table.header)}: name some of them."
        )
    values = torch.empty(len(table), len(names))
    for place, name in enumerate(names):
        cells = table.column(table.header.index(name))
        _refuse_thousands(table.path, name, cells)
        numbers = [_number(table.path, row, name, cell, unknown) for row, cell in enumerate(cells, table.first_row)]
        values[:, place] = torch.tensor(numbers)
    for name, column in zip(names, values.T, strict=True):
        if column[~column.isnan()].unique().numel() < 2:
            raise UsageError(f"The column `{name}` of {table.path} holds fewer than two different numbers to predict.")
    return Measurements(names, values)


def _refuse_thousands(table: str, column: str, cells: Sequence[str]) -> None:
    """Refuse commas before three digits in a column that no other comma tells to be decimal ones."""
    commas = [cell.strip() for cell in cells if "," in cell]
    if commas and all(_THOUSANDS.fullmatch(cell) for cell in commas):
        raise UsageError(
            f"{table} has `{commas[0]}` in the column `{column}`, which may be thousands or a decimal comma: write "
            f"{commas[0].replace(',', '')} or {commas[0].replace(',', '.', 1)}."
        )


def _number(table: str, row: int, column: str, cell: str, unknown: UnknownLabels) -> float:
    missing = UnknownLabels.option_for(cell) == "missing"
    if missing and unknown.missing == "ignore":
        return float("nan")
    number = number_in(cell)
    if number is not None:
        return number
    hint = 'set dataset.missing="ignore" to leave it out of the loss' if missing else "correct the cell"
    raise UsageError(
        f"Row {row} of {table} has `{cell}` in the column `{column}`, which is not a finite number: {hint}."
    )
