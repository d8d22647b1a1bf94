"""Groups of images, such as patients, whose images must not be in two parts."""

from collections.abc import Sequence
from pathlib import Path

from maetool.data.sources.part_names import parts_in_column, split_column_of
from maetool.data.sources.tables.columns import open_table
from maetool.errors import UsageError
from maetool.messages import plural

from .columns import look_at_table
from .findings import Finding, some
from .parts import Part


def findings_of_groups(parts: Sequence[Part]) -> list[Finding]:
    """Return which groups of tables have images in two parts: of one table with a column of parts, or of several."""
    tables = list(dict.fromkeys(part.place["csv_file"] for part in parts if "csv_file" in part.place))
    by_group: dict[str, set[str]] = {}
    column = None
    for table in tables:
        names = [part.name for part in parts if part.place.get("csv_file") == table]
        column = _read(table, names, by_group) or column
    torn = sorted(group for group, where in by_group.items() if len(where) > 1)
    if not torn:
        return []
    return [
        Finding(
            "error",
            "leaks",
            f"{plural(len(torn), 'group')} of the column `{column}` ({some(torn)}) with images in several parts, so "
            "that scores there are too good: move all images of a group to one part.",
        )
    ]


def _read(table: str, names: Sequence[str], by_group: dict[str, set[str]]) -> str | None:
    """Add the parts of each group of a table, and return the column of groups."""
    try:
        groups, read = look_at_table(table).of("group"), open_table(table)
    except UsageError:
        return None
    if not groups:
        return None
    split = split_column_of(read)
    parts = parts_in_column(split, read.column(read.header.index(split))) if split else None
    if parts is None and len(names) > 1:  # a fifth that is held out: group_column takes care
        return None
    for number, cell in enumerate(read.column(read.header.index(groups[0].name))):
        if cell.strip():
            by_group.setdefault(cell.strip(), set()).add(parts[number] if parts else Path(table).stem)
    return groups[0].name
