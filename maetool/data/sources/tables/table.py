"""Image files and their labels in a table, csv or Parquet."""

import functools
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar
from unicodedata import normalize

import torch
from torch import Tensor

from maetool.annotations import FromZero
from maetool.errors import UsageError
from maetool.registry import SOURCES

from ..base import Labels, Measurements, groups_by_name
from ..file_index import FileIndex
from ..folds import fold_column_of, folds_in_column, in_fold
from ..packed.names import Names
from ..part_names import check_part, parts_in_column, split_column_of
from ..urls import refuse_url
from .cache import TableContent, cached_table
from .columns import FORMS, Columns, open_table
from .labels import labels_of_table, tell_of_classes
from .measurements import read_measurements
from .unknown import Policy, UnknownLabels

_logger = logging.getLogger("maetool")
_PATHS = ("path", "filename", "file_name", "filepath", "file_path", "image_path", "image", "file")


@SOURCES.register_module()
class TableSource(FileIndex):
    """The image files that a table names, with its labels.

    The table has a header with the column `path`, `filename` or `image`, relative to `root`. One label for each image
    stands in the column `label`, `class`, `category` or `target`; other columns are then ignored. Several labels for an
    image are columns of 0 and 1, one for each class, as in most medical and remote sensing tables. A column such as
    `split` that names parts is no class, and neither is one without a name. What was read is cached, and read again
    when the table, or a folder that its images lie in, has changed.

    Args:
        csv_file: the table: csv with comma, semicolon or tab between columns, or Parquet, which pyarrow reads.
        root: folder that the paths are relative to; that of the table by default.
        split: use only the rows of this part, "train", "val" or "test", which a column such as `split` names by any
            usual name; None, all rows.
        group_column: column that says what belongs together, such as patients; `part`, `labels_fraction` and
            `labels_per_class` keep each group whole. It is no class.
        targets: column, or columns, of numbers to predict in place of labels, for `ImageRegressor`.
        label_columns: the column of classes, or a list of columns of 0 and 1, where a table has others too.
        fold: number of the fold that is held out, where a column such as `fold` has one for each row; None, a fifth is.
        uncertain, missing: what cells without a 0 or 1 mean in a table of several labels, see `UnknownLabels`.
        labelled: False reads the paths, parts, groups and folds alone, whatever else the table holds.

    Raises:
        UsageError: a table of another form, a path that is not there, or a column or part that the table has not;
            pyarrow is not installed, and the table is Parquet.
    """

    files_in: ClassVar[str | None] = "csv_file"
    _labels: Labels | Measurements
    _groups: Tensor | None
    _held_out: Tensor | None

    def __init__(
        self,
        csv_file: str | Path,
        root: str | Path | None = None,
        split: str | None = None,
        group_column: str | None = None,
        targets: str | Sequence[str] | None = None,
        uncertain: Policy = "refuse",
        missing: Policy = "refuse",
        label_columns: str | Sequence[str] | None = None,
        fold: FromZero | None = None,
        labelled: bool = True,
    ) -> None:
        unknown = UnknownLabels(uncertain, missing)
        asked = {
            "root": root and os.path.abspath(os.path.expanduser(root)),
            **{"split": split, "groups": group_column, "targets": targets, "label_columns": label_columns},
            **{"uncertain": uncertain, "missing": missing, "fold": fold, "labelled": labelled},
        }
        labels = functools.partial(_labels, targets, label_columns, group_column, unknown) if labelled else _no_labels
        read = functools.partial(_read, csv_file, root, split, group_column, labels, fold)
        content = cached_table(csv_file, asked, read)
        super().__init__(content.files.root, content.files.names)
        object.__setattr__(self, "_labels", content.labels)
        if isinstance(content.labels, Labels):
            tell_of_classes(csv_file, content.labels)
        object.__setattr__(self, "_groups", content.groups)
        object.__setattr__(self, "_held_out", content.held_out)

    def labels(self) -> Labels | Measurements:
        """Return the labels: integers, or float32 (N, K) of zeros and ones, or numbers; NaN where unknown.

        With `labelled=False` there are no classes, so K is 0.
        """
        return self._labels

    def groups(self) -> Tensor | None:
        """Return the number of each image's group, int64 (N,), or None without `group_column`."""
        return self._groups

    def held_out(self) -> Tensor | None:
        """Return which images are of the fold that is held out, bool (N,), or None without `fold`."""
        return self._held_out


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
    labels = functools.partial(_labels, None, None, None, unknown or UnknownLabels())
    content = _read(csv_file, root, None, None, labels)
    assert isinstance(content.labels, Labels)  # without targets
    return content.files, content.labels


def paths_in_table(table: Columns) -> list[str] | None:
    """Return the cells of the column of paths of `table`; None if there is none."""
    place = path_column_of(table.header)
    return None if place is None else [cell.strip() for cell in table.column(place)]


def parts_of_table(csv_file: str | Path) -> set[str]:
    """Return the parts that a column of `csv_file` names, such as {"train", "val"}; empty without such a column.

    Raises:
        UsageError: the table cannot be read.
    """
    table = open_table(csv_file)
    column, parts = split_column_of(table), _part_of_each_row(table) or []
    if column and "" in parts:
        other = table.column(table.header.index(column))[parts.index("")]
        _logger.warning(
            "%s: %d of %d rows are of no part, such as %r in the column `%s`, and left out.",
            *(csv_file, parts.count(""), len(parts), other, column),
        )
    return set(parts) - {""}


def _read(
    csv_file: str | Path,
    root: str | Path | None,
    split: str | None,
    group_column: str | None,
    labels_in: Callable[[Columns, str], Labels | Measurements],
    fold: int | None = None,
) -> TableContent:
    table = open_table(csv_file)
    header, path = table.header, path_column_of(table.header)
    if path is None or (len(header) < 2 and labels_in is not _no_labels):
        raise UsageError(f"{table.path} has the columns {', '.join(header) or 'none'}, but expected {FORMS}.")
    if not len(table):
        raise UsageError(f"{table.path} has a header but no rows: write one for each image.")
    names = [cell.strip() for cell in table.column(path)]
    labels = labels_in(table, header[path])
    # Classes are those of all rows, so that every part has the same ones in the same order.
    chosen = _rows_of_part(table, split)
    groups = _groups_in(table, group_column)
    refuse_url(root, f"The root of {table.path}")
    root = os.path.abspath(os.path.expanduser(root or os.path.dirname(table.path)))
    held_out = None if fold is None else in_fold(fold, [_folds(table)[1][i] for i in chosen], table.path)
    return TableContent(
        _files(table.path, root, [names[i] for i in chosen]),
        labels._replace(values=labels.values[chosen]),
        None if groups is None else groups[chosen],
        held_out,
    )


def _labels(
    targets: str | Sequence[str] | None,
    label_columns: str | Sequence[str] | None,
    group_column: str | None,
    unknown: UnknownLabels,
    table: Columns,
    path: str,
) -> Labels | Measurements:
    if targets is not None:
        return read_measurements(table, targets, unknown)
    no_class = (group_column, split_column_of(table), _folds(table)[0])
    return labels_of_table(table, path, no_class, unknown, label_columns)


def _no_labels(table: Columns, path: str) -> Labels:
    return Labels([], torch.zeros(len(table), 0))


def _folds(table: Columns) -> tuple[str | None, Sequence[int | None]]:
    """Return the column of folds and the fold of each row; None for each where there is no such column."""
    column = fold_column_of(table.header)
    folds = None if column is None else folds_in_column(table.column(table.header.index(column)))
    return (None, [None] * len(table)) if folds is None else (column, folds)


def folds_of_table(csv_file: str | Path) -> list[int]:
    """Return the folds that a column of a table names, ascending; empty without such a column.

    Args:
        csv_file: the table.

    Raises:
        UsageError: the table cannot be read.
    """
    return sorted({fold for fold in _folds(open_table(csv_file))[1] if fold is not None})


def path_column_of(header: Sequence[str]) -> int | None:
    """Return the place in `header` of the column of paths by its usual names, None if there is none."""
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
    column = split_column_of(table)
    return parts_in_column(column, table.column(table.header.index(column))) if column else None


def _groups_in(table: Columns, column: str | None) -> Tensor | None:
    if column is None:
        return None
    if column not in table.header:
        raise UsageError(
            f"group_column is {column!r}, but {table.path} has the columns {', '.join(table.header)}: name one of them."
        )
    return groups_by_name([cell.strip() for cell in table.column(table.header.index(column))])


def _files(table: str, root: str, names: list[str]) -> FileIndex:
    found = [_located(root, name) for name in names]
    absent = [name for name, file in zip(names, found, strict=True) if file is None]
    if absent:
        raise UsageError(
            f"{len(absent)} of {len(names)} paths in {table} do not exist (first {os.path.join(root, absent[0])}): "
            f"write paths relative to {root}, give another root, or leave these rows out."
        )
    files = [os.path.normpath(name) for name in found if name is not None]
    file, times = Counter(os.path.join(root, name) for name in files).most_common(1)[0]
    if times > 1:
        twice = [name for name, each in zip(names, files, strict=True) if os.path.join(root, each) == file]
        raise UsageError(
            f"{table} names {' and '.join(dict.fromkeys(twice))} in several rows: give each image one row; several "
            "labels are written as columns of 0 and 1, one for each class."
        )
    return FileIndex(root, Names.of([os.fsencode(name) for name in files]))


def _located(root: str, name: str) -> str | None:
    """Return the name of a file as it is on this system, None if there is none.

    Windows writes backslashes, and macOS letters and their accents apart.
    """
    if name and os.path.isfile(os.path.join(root, name)):
        return name
    forms = [normalize(form, name.replace("\\", "/")) for form in ("NFC", "NFD")]
    return next((form for form in forms if form and os.path.isfile(os.path.join(root, form))), None)
