"""What the columns of a table hold: paths, labels, groups, parts, measurements."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from maetool.data.sources.part_names import part_of, parts_in_column, split_column_of
from maetool.data.sources.table import path_column_of
from maetool.data.sources.table_columns import TABLE_ENDINGS, open_table
from maetool.data.sources.unknown import UnknownLabels, number_in, refuse_measurements
from maetool.errors import UsageError

from .findings import Finding, plural, some

Role = Literal["path", "part", "label", "finding", "group", "measurement", "text"]
# Words for what several images are of, whose images lie together in one part.
_GROUPS = {
    "patient",
    "patientid",
    "subject",
    "subjectid",
    "participant",
    "case",
    "caseid",
    "study",
    "studyid",
    "person",
}
_GROUPS |= {
    "individual",
    "animal",
    "slide",
    "specimen",
    "sequence",
    "video",
    "scene",
    "site",
    "plot",
    "lesion",
    "group",
}
_GROUPS |= {"hospital", "location", "camera", "tile", "exam", "visit", "session", "series"}
_CLASSES = {"label", "labels", "class", "classes", "category", "target", "diagnosis", "species"}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its header.
        role: what it seems to hold; "finding" is a class of its own, with 0 and 1.
        different: how many different values it has, empty cells aside.
        empty: empty cells and those that say that nothing is known, such as NaN.
        uncertain: cells that say that a label is uncertain, such as -1 or ?.
        lowest, highest: of numbers; None where a cell is none.
        commonest: its commonest values, and how often they occur.
    """

    name: str
    role: Role
    different: int
    empty: int
    uncertain: int
    lowest: float | None
    highest: float | None
    commonest: list[tuple[str, int]]


@dataclass(frozen=True)
class Table:
    """The columns of a table.

    Attributes:
        path: the file.
        rows: how many there are, without the header.
        columns: what they hold.
        options: arguments of a `CsvDataset` that follow.
    """

    path: str
    rows: int
    columns: list[Column]
    options: dict[str, Any]

    def of(self, role: Role) -> list[Column]:
        """Return the columns of a role."""
        return [column for column in self.columns if column.role == role]


def look_at_table(csv_file: str | Path) -> Table:
    """Return what the columns of the table `csv_file` hold.

    Raises:
        UsageError: the table cannot be read.
    """
    read = open_table(csv_file)
    cells = {name: [cell.strip() for cell in read.column(i)] for i, name in enumerate(read.header)}
    place, parts = path_column_of(read.header), split_column_of(read.header)
    path = None if place is None else read.header[place]
    columns = [_column(name, each, path, parts, "label" in cells) for name, each in cells.items()]
    table = Table(str(csv_file), len(read), columns, {})
    return Table(table.path, table.rows, columns, _options(table))


def _column(name: str, cells: Sequence[str], path: str | None, parts: str | None, single: bool) -> Column:
    kinds = Counter(UnknownLabels.option_for(cell) for cell in cells)
    known = [cell for cell in cells if UnknownLabels.option_for(cell) != "missing"]
    numbers = [number for cell in known if (number := number_in(cell)) is not None]
    all_numbers = bool(known) and len(numbers) == len(known)
    counts = Counter(known)
    return Column(
        name=name,
        role=_role(name, cells, known, path, parts, single),
        different=len(counts),
        empty=kinds["missing"],
        uncertain=kinds["uncertain"],
        lowest=min(numbers) if all_numbers else None,
        highest=max(numbers) if all_numbers else None,
        commonest=counts.most_common(5),
    )


def _role(
    name: str, cells: Sequence[str], known: Sequence[str], path: str | None, parts: str | None, single: bool
) -> Role:
    if name == path:
        return "path"
    if name == parts and parts_in_column(name, cells) is not None:
        return "part"
    if _is_group(name) and 1 < len(set(known)) < len(known):
        return "group"
    if _are_measurements(known):
        return "measurement"
    if name == "label":
        return "label"
    reader = UnknownLabels("ignore", "ignore")
    return "finding" if not single and all(reader.read(cell) is not None for cell in cells) else "text"


def _is_group(name: str) -> bool:
    words = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()
    return bool(_GROUPS & {*re.split(r"[\W_]+", words), re.sub(r"[\W_]+", "", words)})


def _are_measurements(cells: Sequence[str]) -> bool:
    try:
        refuse_measurements("", cells)
    except UsageError:
        return True
    return False


def _options(table: Table) -> dict[str, Any]:
    """Return the arguments that a `CsvDataset` of the table needs."""
    options: dict[str, Any] = {}
    groups = table.of("group")
    if groups:
        options["group_column"] = groups[0].name
    labels = [column for column in table.columns if column.name == "label"]
    numbers = table.of("measurement")
    findings = table.of("finding")
    if labels and labels[0].role == "measurement":
        options["targets"] = "label"
    elif not labels and not findings and numbers:
        options["targets"] = numbers[0].name if len(numbers) == 1 else [column.name for column in numbers]
    used = [c for c in table.columns if c.name in _listed(options.get("targets"))] or (findings if not labels else [])
    for option, count in (("missing", "empty"), ("uncertain", "uncertain")):
        if any(getattr(column, count) for column in used) and not (option == "uncertain" and "targets" in options):
            options[option] = "ignore"
    return options


def _listed(names: str | Sequence[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def findings_of_table(table: Table) -> list[Finding]:
    """Return what is worth saying about the columns of `table`."""
    found = [_of_groups(table), _of_measurements(table), _of_unknown(table), *_of_others(table)]
    return [finding for finding in found if finding]


def _of_groups(table: Table) -> Finding | None:
    groups = table.of("group")
    if not groups:
        return None
    sentence = (
        f"The column `{groups[0].name}` has {plural(groups[0].different, 'group')} in {table.rows:,} rows: "
        f"dataset.group_column={groups[0].name} keeps each in one part."
    )
    if len(groups) > 1:
        sentence += f" So might {some([f'`{column.name}`' for column in groups[1:]])}."
    return Finding("warning", "groups", sentence)


def _of_measurements(table: Table) -> Finding | None:
    targets = _listed(table.options.get("targets"))
    if not targets:
        return None
    chosen = next(column for column in table.columns if column.name == targets[0])
    return Finding(
        "note",
        "labels",
        f"{some([f'`{name}`' for name in targets])} holds measurements ({chosen.different:,} different numbers from "
        f"{chosen.lowest:g} to {chosen.highest:g}), no classes: predict them by an ImageRegressor.",
    )


def _of_unknown(table: Table) -> Finding | None:
    options = [name for name in ("uncertain", "missing") if name in table.options]
    if not options:
        return None
    used = [column for column in table.columns if column.role in ("finding", "measurement", "label")]
    counts = f"{sum(c.uncertain for c in used):,} uncertain and {sum(c.empty for c in used):,} missing labels"
    return Finding(
        "warning",
        "labels",
        f"{Path(table.path).name} has {counts}: they are refused unless "
        f"{' and '.join(f'dataset.{name}' for name in options)} says ignore, zeros or ones.",
    )


def _of_others(table: Table) -> list[Finding]:
    """Return what a table of several labels holds that is no label, which a training refuses."""
    if "targets" in table.options or any(column.name == "label" for column in table.columns):
        return []
    spare = [column for column in table.columns if column.role in ("measurement", "text")]
    spare += table.of("group")[1:]
    if not spare:
        return []
    names = some([f"`{column.name}`" for column in spare])
    likely = [column.name for column in spare if column.name.lower() in _CLASSES]
    if likely and not table.of("finding"):
        cure = f"call the column `{likely[0]}` `label`, if it holds the classes"
    elif table.of("finding"):
        cure = "remove them from the table, in which every column but those of paths, parts and groups is a class"
    else:
        cure = "call the column of the classes `label`"
    return [
        Finding("error", "labels", f"The columns {names} hold no 0 and 1, so that a training refuses them: {cure}.")
    ]


def findings_of_tables_beside(root: Path) -> list[Finding]:
    """Return which tables in the folder `root` name images, and are not in use because they were not passed."""
    found = []
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        if not path.name.lower().endswith(TABLE_ENDINGS) or part_of(path.stem):
            continue
        try:
            header = open_table(path).header
        except UsageError:
            continue
        if path_column_of(header) is not None and len(header) > 1:
            sentence = f"{path} names images and more about them: pass it as the data to learn from its columns."
            found.append(Finding("note", "labels", sentence))
    return found
