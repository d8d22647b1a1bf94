"""What the columns of a table hold: paths, labels, groups, parts, measurements."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from maetool.data.sources.folds import fold_column_of, folds_in_column
from maetool.data.sources.part_names import part_of, parts_in_column, split_column_of
from maetool.data.sources.tables.columns import TABLE_ENDINGS, Columns, open_table
from maetool.data.sources.tables.labels import usual_column
from maetool.data.sources.tables.table import path_column_of
from maetool.data.sources.tables.unknown import UnknownLabels, number_in, refuse_measurements
from maetool.errors import UsageError
from maetool.messages import plural

from .findings import Finding, some

Role = Literal["path", "part", "fold", "label", "finding", "group", "measurement", "text"]
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
_READER = UnknownLabels("ignore", "ignore")
_FEW = 0.5  # a column of words is one of classes, where fewer than this share of them differ


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

    @property
    def has_labels(self) -> bool:
        """Whether a column may hold something to learn."""
        return any(column.role in ("label", "finding", "measurement", "text") for column in self.columns)

    def of(self, role: Role) -> list[Column]:
        """Return the columns of a role."""
        return [column for column in self.columns if column.role == role]


def look_at_table(csv_file: str | Path) -> Table:
    """Return what the columns of the table `csv_file` hold.

    Raises:
        UsageError: the table cannot be read.
    """
    read = open_table(csv_file)
    fixed = _fixed_roles(read)
    columns = []
    for place, name in enumerate(read.header):
        cells = [cell.strip() for cell in read.column(place)]
        columns.append(_column(name, fixed.get(name) or _role(name, cells), cells))
    table = Table(str(csv_file), len(read), columns, {})
    return replace(table, options=_options(table))


def _fixed_roles(read: Columns) -> dict[str, Role]:
    """Return the roles of the columns that a `CsvDataset` knows by their names."""
    fixed: dict[str, Role] = {}
    place, parts, folds = path_column_of(read.header), split_column_of(read), fold_column_of(read.header)
    if folds and folds_in_column(read.column(read.header.index(folds))):
        fixed[folds] = "fold"
    if parts and parts_in_column(parts, read.column(read.header.index(parts))) is not None:
        fixed[parts] = "part"
    if place is not None:
        fixed[read.header[place]] = "path"
    label = usual_column(read, [name for name in read.header if name not in fixed], _READER)
    if label and not _are_measurements([cell.strip() for cell in read.column(read.header.index(label))]):
        fixed[label] = "label"
    return fixed


def _column(name: str, role: Role, cells: Sequence[str]) -> Column:
    kinds = Counter(UnknownLabels.option_for(cell) for cell in cells)
    known = [cell for cell in cells if UnknownLabels.option_for(cell) != "missing"]
    numbers = [number for cell in known if (number := number_in(cell)) is not None]
    all_numbers = bool(known) and len(numbers) == len(known)
    counts = Counter(known)
    return Column(
        name=name,
        role=role,
        different=len(counts),
        empty=kinds["missing"],
        uncertain=kinds["uncertain"],
        lowest=min(numbers) if all_numbers else None,
        highest=max(numbers) if all_numbers else None,
        commonest=counts.most_common(5),
    )


def _role(name: str, cells: Sequence[str]) -> Role:
    known = [cell for cell in cells if UnknownLabels.option_for(cell) != "missing"]
    if _is_group(name) and 1 < len(set(known)) < len(known):
        return "group"
    if known and _are_measurements(known):
        return "measurement"
    return "finding" if known and all(_READER.read(cell) is not None for cell in cells) else "text"


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
    groups = table.of("group")
    options: dict[str, Any] = {"group_column": groups[0].name} if groups else {}
    if table.of("label"):
        return options
    named = [column for column in table.of("measurement") if column.name == "label"]
    findings, words = table.of("finding"), _of_classes(table)
    others = [*table.of("measurement"), *table.of("text"), *groups[1:]]
    if named or not (findings or words):
        chosen = [column.name for column in named or table.of("measurement")]
        options |= {"targets": chosen[0] if len(chosen) == 1 else chosen} if chosen else {}
    elif not findings:
        options["label_columns"] = words[0].name
    elif others:
        options["label_columns"] = [column.name for column in findings]
    used = findings if "targets" not in options else [c for c in table.columns if c.name in _listed(options["targets"])]
    options |= {"missing": "ignore"} if any(column.empty for column in used) else {}
    uncertain = "targets" not in options and any(column.uncertain for column in used)
    return options | ({"uncertain": "ignore"} if uncertain else {})


def _of_classes(table: Table) -> list[Column]:
    """Return the columns of words or numbers that repeat as those of classes do, the likeliest first."""
    words = [column for column in table.of("text") if 1 < column.different < _FEW * table.rows and not column.empty]
    return sorted(words, key=lambda column: column.different)


def _listed(names: str | Sequence[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def findings_of_table(table: Table) -> list[Finding]:
    """Return what is worth saying about the columns of `table`."""
    found = [_of_groups(table), _of_folds(table), _of_choice(table), _of_measurements(table), _of_unknown(table)]
    return [finding for finding in found if finding]


def _of_folds(table: Table) -> Finding | None:
    if not table.of("fold") or table.of("part"):
        return None
    column = table.of("fold")[0]
    sentence = f"The column `{column.name}` has {column.different} folds: dataset.fold says which is held out."
    return Finding("note", "parts", sentence)


def _of_choice(table: Table) -> Finding | None:
    chosen = table.options.get("label_columns")
    if chosen is None:
        return None
    if isinstance(chosen, str):
        others = [f"`{column.name}`" for column in _of_classes(table)[1:]]
        instead = f"; so might {some(others)}" if others else ""
        sentence = f"`{chosen}` seems to hold the classes{instead}: dataset.label_columns says which column does."
        return Finding("warning", "labels", sentence)
    spare = [f"`{c.name}`" for c in table.columns if c.role in ("measurement", "text")]
    sentence = f"{plural(len(chosen), 'column')} of 0 and 1 are taken for the classes, {some(spare)} for none of them"
    return Finding("note", "labels", f"{sentence}: dataset.label_columns says which are.")


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
