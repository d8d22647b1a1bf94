"""The columns of a table as text, whatever the file is: csv, or Parquet by pyarrow."""

import csv
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from maetool.errors import UsageError
from maetool.reading import MOST_BYTES, read_text

from ..extras import need
from ..urls import refuse_url

_PARQUET = (".parquet", ".pq")
TABLE_ENDINGS = (".csv", ".tsv", *_PARQUET)
FORMS = (
    "a header `path,label` and one label for each image, or `path,CLASS,CLASS,...` with 1 where an image has the class "
    "and 0 where not"
)
_SEPARATOR = re.compile(r"(?i)sep=(.)")
_MOST_ROWS = 10**8
_PANDAS_INDEX = "__index_level_"  # pandas numbers the rows of its Parquet files in such a column
_ROWS_AT_ONCE = 2**16


class Columns(Protocol):
    """A table.

    Attributes:
        path: where it is.
        header: names of the columns.
        first_row: the number of the first row in messages, as editors and pandas count.
    """

    path: str
    header: list[str]
    first_row: int

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def column(self, index: int) -> list[str]:
        """Return the cells of the column at `index`, empty where a value is missing.

        Raises:
            UsageError: it cannot be read.
        """
        ...


def is_table(path: str | Path) -> bool:
    """Return whether a path ends as tables do, in any case."""
    return str(path).lower().endswith(TABLE_ENDINGS)


def open_table(path: str | Path) -> Columns:
    """Return the columns of the table at `path`, csv or Parquet.

    Raises:
        UsageError: there is none, it cannot be read, or pyarrow is not installed and it is a Parquet file.
    """
    refuse_url(path, "The table")
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(path):
        raise UsageError(f"There is no table {path}: pass a csv or Parquet file with {FORMS}.")
    return _Parquet(path) if _is_parquet(path) else _Csv(path)


def holds_images(path: str | Path) -> bool:
    """Return whether `path`, a Parquet file, has a column of image files, as Hugging Face's `datasets` writes them.

    Raises:
        UsageError: see `open_table`.
    """
    return _is_parquet(path) and _Parquet(os.path.abspath(os.path.expanduser(path))).images is not None


def _is_parquet(path: str | Path) -> bool:
    return str(path).lower().endswith(_PARQUET)


class _Csv:
    """A csv file; the first line says whether commas, semicolons or tabs are between the columns."""

    first_row = 2

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            rows = _rows_of(read_text(path, f"a csv table with {FORMS}"))
        except csv.Error as error:
            raise UsageError(f"{path} cannot be read as a csv table ({error}): expected {FORMS}.") from error
        self.header = [cell.strip() for cell in rows[0]] if rows else []
        self._rows = rows[1:]
        self._check_lengths()
        twice = [name for name in self.header if name and self.header.count(name) > 1]
        if twice:
            raise UsageError(f"{path} has two columns of the name `{twice[0]}`: give each a name of its own.")

    def _check_lengths(self) -> None:
        for number, row in enumerate(self._rows, self.first_row):
            if len(row) != len(self.header):
                raise UsageError(
                    f"Row {number} of {self.path} has {len(row)} cells, but the header has {len(self.header)}: "
                    f"expected {FORMS}."
                )

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, index: int) -> list[str]:
        return [row[index] for row in self._rows]


def _rows_of(text: str) -> list[list[str]]:
    """Return the cells of the rows of a csv file that are not empty.

    Commas, semicolons or tabs are between the columns, as the line `sep=;` of Excel says, or else as the header has
    most of them.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    stated = _SEPARATOR.fullmatch(first.strip(" \r\n"))
    if stated:
        text = text.replace(first, "", 1)
    delimiter = (stated[1] if stated else None) or max(",;\t", key=_outside_of_quotes(first).count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != "\t")
    return [row for row in rows if any(cell.strip() for cell in row)]


def _outside_of_quotes(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


class _Parquet:
    """A Parquet file, of which only the columns that are asked for are read.

    Cells of lists, structures and bytes are the name of their type.
    """

    first_row = 0

    def __init__(self, path: str) -> None:
        need("pyarrow", f"The table {path}")
        self.path = path
        self._file = self._opened()
        schema = self._file.schema_arrow
        self._names = [name for name in schema.names if not name.startswith(_PANDAS_INDEX)]
        self.header = [name.strip() for name in self._names]
        self._types = [schema.field(name).type for name in self._names]
        self.images = next((n for n, kind in zip(self.header, self._types, strict=True) if _is_image(n, kind)), None)

    def _opened(self) -> Any:
        import pyarrow.parquet as pq

        try:
            if not os.path.isfile(self.path):  # a named pipe would be waited for
                raise OSError("it is not a regular file")
            plain = pq.ParquetFile(self.path)
            schema, rows = plain.schema_arrow, plain.metadata.num_rows
            if len(set(schema.names)) < len(schema.names):
                raise ValueError("two of its columns have one name")
            if rows > _MOST_ROWS:
                raise ValueError(f"it has {rows:,} rows, more than the {_MOST_ROWS:,} that are read")
            # A text that repeats is stored once: so it stays, until its length is known.
            return pq.ParquetFile(self.path, read_dictionary=[f.name for f in schema if _is_text(f.type)])
        except Exception as error:  # of pyarrow, whose errors have no base of their own
            raise self._refused(error) from error

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def column(self, index: int) -> list[str]:
        kind = self._types[index]
        if not _is_plain(kind):
            return [str(kind)] * len(self)
        try:
            return self._cells(self._names[index])
        except Exception as error:
            raise self._refused(error) from error

    def _cells(self, name: str) -> list[str]:
        import pyarrow as pa
        import pyarrow.compute as pc

        cells: list[str] = []
        total = 0
        for batch in self._file.iter_batches(_ROWS_AT_ONCE, columns=[name]):
            values = batch.column(0)
            total += _length_of_text(values)
            if total > MOST_BYTES:
                raise ValueError(f"its column `{name}` has more than the {MOST_BYTES:,} bytes of text that are read")
            text = pc.fill_null(pc.cast(values, pa.large_string()), "")
            cells += _without_point(values.type, text.to_pylist())
        if len(cells) != len(self):
            raise ValueError(f"damaged: its column `{name}` has {len(cells)} cells, but the file {len(self)} rows")
        return cells

    def _refused(self, error: Exception) -> UsageError:
        reason = str(error).split("\n")[0] or type(error).__name__
        return UsageError(f"{self.path} cannot be read as a Parquet table ({reason}): expected {FORMS}.")


def _is_image(name: str, kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
    return name in ("image", "img") and (types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    return types.is_string(kind) or types.is_large_string(kind)


def _is_plain(kind: Any) -> bool:
    import pyarrow.types as types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    return not types.is_nested(kind) and not binary


def _length_of_text(values: Any) -> int:
    """Return how many bytes the cells of a dictionary of texts have; 0 for other columns, whose cells are short."""
    import pyarrow.compute as pc
    import pyarrow.types as types

    if not types.is_dictionary(values.type) or not _is_text(values.type.value_type):
        return 0
    return pc.sum(pc.binary_length(values.dictionary).take(values.indices)).as_py() or 0


def _without_point(kind: Any, cells: Sequence[str]) -> Sequence[str]:
    """Return cells without the `.0` of whole numbers: pandas makes floats of whole numbers where some are missing."""
    import pyarrow.types as types

    return [cell.removesuffix(".0") for cell in cells] if types.is_floating(kind) else cells
