"""Image files and their labels in a csv table."""

import csv
import io
import os
from collections import Counter
from pathlib import Path
from typing import ClassVar

import torch

from maetool.errors import UsageError
from maetool.reading import read_text
from maetool.registry import SOURCES

from .base import Labels
from .file_index import FileIndex
from .packed_names import Names

_FORMS = (
    "a header `path,label` and one label for each image, or `path,CLASS,CLASS,...` with 1 where an image has the class "
    "and 0 where not"
)
_DIGITS = 100  # a label of more is a word; Python refuses to read numbers of thousands
_BITS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}


@SOURCES.register_module()
class TableSource(FileIndex):
    """The image files that a csv table names, with its labels.

    The table has a header with the column `path`, relative to `root`. One label for each image stands in the column
    `label`; other columns are then ignored. Several labels for an image are columns of 0 and 1, one for each class, as
    in most medical and remote sensing tables.

    Args:
        csv_file: the table; comma, semicolon or tab between columns.
        root: folder that the paths are relative to; that of the table by default.

    Raises:
        UsageError: a table of another form, or a path that is not there.
    """

    files_in: ClassVar[str | None] = "csv_file"
    _labels: Labels

    def __init__(self, csv_file: str | Path, root: str | Path | None = None) -> None:
        files, labels = read_table(csv_file, root)
        super().__init__(files.root, files.names)
        object.__setattr__(self, "_labels", labels)

    def labels(self) -> Labels:
        """Return the labels of the table: integers, or float32 (N, K) of zeros and ones."""
        return self._labels


def read_table(csv_file: str | Path, root: str | Path | None = None) -> tuple[FileIndex, Labels]:
    """Return the files that a table names, in its order, and their labels; see `TableSource`.

    Classes of the column `label` are sorted, as numbers where all are whole numbers.

    Raises:
        UsageError: a table of another form, or a path that is not there.
    """
    table = os.path.abspath(os.path.expanduser(csv_file))
    header, rows = _rows(table)
    if "path" not in header or len(header) < 2:
        raise UsageError(f"{table} has the columns {', '.join(header) or 'none'}, but expected is {_FORMS}.")
    if not rows:
        raise UsageError(f"{table} has a header but no rows: write one for each image.")
    names = [row[header.index("path")].strip() for row in rows]
    files = _files(table, os.path.abspath(os.path.expanduser(root or os.path.dirname(table))), names)
    if "label" in header:
        return files, _single(table, names, [row[header.index("label")].strip() for row in rows])
    return files, _several(table, header, rows)


def _rows(table: str) -> tuple[list[str], list[list[str]]]:
    if not os.path.exists(table):
        raise UsageError(f"There is no table {table}: pass a csv file with {_FORMS}.")
    try:
        file = io.StringIO(read_text(table, f"a csv table with {_FORMS}"), newline="")
        delimiter = max(",;\t", key=file.readline().count)
        file.seek(0)
        rows = [row for row in csv.reader(file, delimiter=delimiter) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UsageError(f"{table} cannot be read as a csv table ({error}): expected is {_FORMS}.") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise UsageError(
                f"Row {number} of {table} has {len(row)} cells, but the header has {len(header)}: expected is {_FORMS}."
            )
    return header, rows[1:]


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
            f"{len(absent)} of {len(names)} paths in {table} are not there (first {os.path.join(root, absent[0])}): "
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
    whole = all(cell.removeprefix("-").isdecimal() and len(cell) <= _DIGITS for cell in cells)
    classes = sorted(set(cells), key=int if whole else None)
    if len(classes) == 1:
        raise UsageError(f"{table} has only the class `{classes[0]}`: labels tell two or more classes apart.")
    label_of = {name: label for label, name in enumerate(classes)}
    return Labels(classes, torch.tensor([label_of[cell] for cell in cells]))


def _several(table: str, header: list[str], rows: list[list[str]]) -> Labels:
    columns = [i for i, name in enumerate(header) if name != "path"]
    for number, row in enumerate(rows, 2):
        for i in columns:
            if row[i].strip() not in _BITS:
                raise UsageError(
                    f"Row {number} of {table} has `{row[i]}` in the column `{header[i]}`, but columns of classes hold "
                    f"0 or 1 only: expected is {_FORMS}."
                )
    values = torch.tensor([[_BITS[row[i].strip()] for i in columns] for row in rows])
    if len(columns) == 1 and values.unique().numel() == 1:
        raise UsageError(
            f"The only class column of {table}, `{header[columns[0]]}`, is {values[0, 0]:g} in every row: there is "
            "nothing to tell apart."
        )
    return Labels([header[i] for i in columns], values)
