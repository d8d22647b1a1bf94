"""Image files and their labels in a table, csv or Parquet."""

import functools
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.registry import SOURCES

from .base import Labels, Measurements
from .file_index import FileIndex
from .measurements import read_measurements
from .packed.names import Names
from .part_names import check_part, parts_in_column, split_column_of
from .table_cache import cached_table
from .table_columns import FORMS, Columns, open_table
from .unknown import Policy, UnknownLabels, refuse_measurements

_PATHS = ("path", "filename", "file_name", "filepath", "file_path", "image_path", "image", "file")
_DIGITS = 100  # a label of more is a word; Python refuses to read numbers of thousands


@SOURCES.register_module()
class TableSource(FileIndex):
    """The image files that a table names, with its labels.

    The table has a header with the column `path`, `filename` or `image`, relative to `root`. One label for each image
    stands in the column `label`; other columns are then ignored. Several labels for an image are columns of 0 and 1,
    one for each class, as in most medical and remote sensing tables. A column such as `split` that names parts is no
    class. What was read is cached, and read again when the table, or a folder that its images lie in, has changed.

    Args:
        csv_file: the table: csv with comma, semicolon or tab between columns, or Parquet, which pyarrow reads.
        root: folder that the paths are relative to; that of the table by default.
        split: use only the rows of this part, "train", "val" or "test", which a column such as `split` names by any
            usual name; None, all rows.
        group_column: column that says what belongs together, such as patients; `part`, `labels_fraction` and
            `labels_per_class` keep each group whole. It is no class.
        targets: column, or columns, of numbers to predict in place of labels, for `ImageRegressor`.
        uncertain, missing: what cells without a 0 or 1 mean in a table of several labels, see `UnknownLabels`.

    Raises:
        UsageError: a table of another form, a path that is not there, or a column or part that the table has not;
            pyarrow is not installed, and the table is Parquet.
    """

    files_in: ClassVar[str | None] = "csv_file"
    _labels: Labels | Measurements
    _groups: Tensor | None

    def __init__(
        self,
        csv_file: str | Path,
        root: str | Path | None = None,
        split: str | None = None,
        group_column: str | None = None,
        targets: str | Sequence[str] | None = None,
        uncertain: Policy = "refuse",
        missing: Policy = "refuse",
    ) -> None:
        unknown = UnknownLabels(uncertain, missing)
        asked: dict[str, Any] = {
            "root": root and os.path.abspath(os.path.expanduser(root)),
            "split": split,
            "groups": group_column,
        }
        asked |= {"targets": targets, "uncertain": uncertain, "missing": missing}
        read = functools.partial(_read, csv_file, root, split, group_column, unknown, targets)
        files, labels, groups = cached_table(csv_file, asked, read)
        super().__init__(files.root, files.names)
        object.__setattr__(self, "_labels", labels)
        object.__setattr__(self, "_groups", groups)

    def labels(self) -> Labels | Measurements:
        """Return the labels: integers, or float32 (N, K) of zeros and ones, or numbers; NaN where unknown."""
        return self._labels

    def groups(self) -> Tensor | None:
        """Return the number of each image's group, int64 (N,), or None without `group_column`."""
        return self._groups


def read_table(
    csv_file: str | Path, root: str | Path | None = None, unknown: UnknownLabels | None = None
) -> tuple[FileIndex, Labels]:
    """Return the files that a table names, in its order, and their labels; see `TableSource`.

    Classes of the column `label` are sorted, as numbers where all are whole numbers.

    Args:
        csv_file: the table.
        root: folder that its paths are relative to; None is the table's.
        unknown: how uncertain and missing labels are read.

    Raises:
        UsageError: a table of another form, or a path that is not there.
    """
    files, labels, _ = _read(csv_file, root, None, None, unknown or UnknownLabels())
    assert isinstance(labels, Labels)  # without targets
    return files, labels


def cells_of_table(csv_file: str | Path) -> tuple[list[str], list[list[str]], str | None]:
    """Return the header of a table, its rows, and the name of the column of paths, None if there is none.

    Raises:
        UsageError: the table cannot be read.
    """
    table = open_table(csv_file)
    path = _path_column(table.header)
    rows = [list(row) for row in zip(*map(table.column, range(len(table.header))), strict=True)]
    return table.header, rows, None if path is None else table.header[path]


def parts_of_table(csv_file: str | Path) -> set[str]:
    """Return the parts that a column of `csv_file` names, such as {"train", "val"}; empty without such a column.

    Raises:
        UsageError: the table cannot be read.
    """
    return set(_part_of_each_row(open_table(csv_file)) or ())


def _read(
    csv_file: str | Path,
    root: str | Path | None,
    split: str | None,
    group_column: str | None,
    unknown: UnknownLabels,
    targets: str | Sequence[str] | None = None,
) -> tuple[FileIndex, Labels | Measurements, Tensor | None]:
    table = open_table(csv_file)
    header, path = table.header, _path_column(table.header)
    if path is None or len(header) < 2:
        raise UsageError(f"{table.path} has the columns {', '.join(header) or 'none'}, but expected is {FORMS}.")
    if not len(table):
        raise UsageError(f"{table.path} has a header but no rows: write one for each image.")
    names = [cell.strip() for cell in table.column(path)]
    labels: Labels | Measurements
    if targets is not None:
        labels = read_measurements(table, targets, unknown)
    elif "label" in header:
        labels = _single(table.path, names, [cell.strip() for cell in table.column(header.index("label"))])
    else:
        no_class = {path, *(header.index(name) for name in (group_column, split_column_of(header)) if name in header)}
        labels = _several(table, [i for i in range(len(header)) if i not in no_class], unknown)
    # Classes are those of all rows, so that every part has the same ones in the same order.
    chosen = _rows_of_part(table, split)
    groups = _groups_in(table, group_column)
    root = os.path.abspath(os.path.expanduser(root or os.path.dirname(table.path)))
    files = _files(table.path, root, [names[i] for i in chosen])
    return files, labels._replace(values=labels.values[chosen]), None if groups is None else groups[chosen]


def _path_column(header: list[str]) -> int | None:
    lower = [name.lower() for name in header]
    return next((lower.index(name) for name in _PATHS if name in lower), None)


def _rows_of_part(table: Columns, split: str | None) -> list[int]:
    if split is None:
        return list(range(len(table)))
    check_part(split)
    chosen = [i for i, part in enumerate(_part_of_each_row(table) or ()) if part == split]
    if not chosen:
        raise UsageError(
            f"split is {split!r}, but no row of {table.path} is of this part: name the part of every row in a column "
            "`split`, by train, val or test, or leave split out."
        )
    return chosen


def _part_of_each_row(table: Columns) -> list[str] | None:
    column = split_column_of(table.header)
    return parts_in_column(column, table.column(table.header.index(column))) if column else None


def _groups_in(table: Columns, column: str | None) -> Tensor | None:
    if column is None:
        return None
    if column not in table.header:
        raise UsageError(
            f"group_column is {column!r}, but {table.path} has the columns {', '.join(table.header)}: name one of them."
        )
    cells = [cell.strip() for cell in table.column(table.header.index(column))]
    # An image without an entry is a group of its own.
    names = [cell or f"\0{number}" for number, cell in enumerate(cells)]
    number_of = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([number_of[name] for name in names])


def _files(table: str, root: str, names: list[str]) -> FileIndex:
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise UsageError(
            f"{table} names {twice} in several rows: give each image one row; several labels are written as columns of "
            "0 and 1, one for each class."
        )
    absent = [name for name in names if not name or not os.path.isfile(os.path.join(root, name))]
    if absent:
        raise UsageError(
            f"{len(absent)} of {len(names)} paths in {table} do not exist (first {os.path.join(root, absent[0])}): "
            f"write paths relative to {root}, give another root, or leave these rows out."
        )
    return FileIndex(root, Names.of([os.fsencode(os.path.normpath(name)) for name in names]))


def _single(table: str, names: list[str], cells: list[str]) -> Labels:
    empty = [name for name, cell in zip(names, cells, strict=True) if not cell]
    if empty:
        raise UsageError(
            f"{len(empty)} of {len(cells)} rows of {table} have no label (first {empty[0]}): fill them in, or leave "
            "these rows out."
        )
    joined = [cell for cell in cells if "|" in cell or ";" in cell]
    if joined:
        raise UsageError(
            f"{table} has the label `{joined[0]}`: several labels of an image are written as columns of 0 and 1, one "
            "for each class, with the header `path,CLASS,CLASS,...`."
        )
    refuse_measurements(table, cells)
    whole = all(cell.removeprefix("-").isdecimal() and len(cell) <= _DIGITS for cell in cells)
    classes = sorted(set(cells), key=int if whole else None)
    if len(classes) == 1:
        raise UsageError(f"{table} has only the class `{classes[0]}`: labels tell two or more classes apart.")
    label_of = {name: label for label, name in enumerate(classes)}
    return Labels(classes, torch.tensor([label_of[cell] for cell in cells]))


def _several(table: Columns, columns: list[int], unknown: UnknownLabels) -> Labels:
    if not columns:
        raise UsageError(
            f"{table.path} has the columns {', '.join(table.header)} but none of classes: expected is {FORMS}."
        )
    names = [table.header[i] for i in columns]
    values = torch.stack([_zeros_and_ones(table, i, unknown) for i in columns], dim=1)
    if values.isnan().all():
        raise UsageError(f"{table.path} has no 0 and no 1, so that all its labels are unknown: fill some in.")
    known = values[~values.isnan()]
    if len(columns) == 1 and known.unique().numel() == 1:
        raise UsageError(
            f"The only class column of {table.path}, `{names[0]}`, is {known[0]:g} in every row: there is nothing to "
            "tell apart."
        )
    return Labels(names, values)


def _zeros_and_ones(table: Columns, column: int, unknown: UnknownLabels) -> Tensor:
    """Return the column of a class, float32 (N,)."""
    cells = table.column(column)
    values = [unknown.read(cell) for cell in cells]
    if None in values:
        row = values.index(None)
        raise UsageError(
            f"Row {table.first_row + row} of {table.path} has `{cells[row]}` in the column `{table.header[column]}`, "
            f"but columns of classes hold 0 or 1 only: {_hint(cells[row])}expected is {FORMS}."
        )
    return torch.tensor(values, dtype=torch.float32)


def _hint(cell: str) -> str:
    """Return the way to read a table with such cells."""
    option = UnknownLabels.option_for(cell)
    return f"set dataset.{option} to ignore, zeros or ones where that is a label that is not known; " if option else ""
