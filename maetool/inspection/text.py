"""The report for a terminal: plain text of 100 columns."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from maetool.errors import printable
from maetool.messages import plural

from .findings import some
from .labels import Classes, Numbers
from .masks import Masks
from .objects import Objects
from .report import Report, aspects, endings
from .statistics import numbers, sizes_of

_WIDTH, _INDENT = 100, 12
_CLASSES = 20  # that are listed
_NAME = 40


def to_text(report: Report) -> str:
    """Return the report."""
    lines = [*_head(report), *_files(report), *_pixels(report), *_copies(report), *_truth(report)]
    lines += ["", *_findings(report)]
    for command in report.commands:
        init = "" if command.task == "pretraining" else "; --init CHECKPOINT begins with a pretrained encoder"
        lines += ["", f"To train ({command.task}{init}):", command.to_text()]
    if report.layout.task not in [command.task for command in report.commands]:
        lines += ["", f"Of {report.layout.task} no command is offered: it would be refused for the errors above."]
    return "\n".join(map(printable, lines))


def _row(name: str, text: str) -> list[str]:
    """Return a line that begins with a name, wrapped."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{name:<{_INDENT}}",
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _head(report: Report) -> list[str]:
    names = {"all": "images"}
    parts = ", ".join(f"{names.get(part.name, part.name)} {len(part.source):,}" for part in report.parts)
    held = [part.place for part in report.parts if part.place.get("part") == "val"]
    share = "a fifth" if not held or held[0].get("fold") is None else f"fold {held[0]['fold']}"
    extra = f"; {share} is held out for val, as no part is named so" if held else ""
    return [*_row("data", f"{report.data}: {report.layout.words}"), *_row("parts", parts + extra)]


def _files(report: Report) -> list[str]:
    files = report.files
    lines = _row("files", f"{plural(sum(files.used.values()), 'image')}: {endings(files.used)}")
    if files.truth:
        lines += _row("", f"{sum(files.truth.values()):,} of labels, masks or annotations: {endings(files.truth)}")
    by_reason: dict[str, list[str]] = {}
    for (ending, reason), count in files.passed_over.most_common():
        by_reason.setdefault(reason, []).append(f"{count:,} {ending}")
    for reason, counts in by_reason.items():
        more = f" and {len(counts) - 6} more endings" if len(counts) > 6 else ""
        lines += _row("", f"passed over: {', '.join(counts[:6])}{more} ({reason})")
    broken = report.broken
    if broken:
        lines += _row("", f"broken: {len(broken):,} of {report.copies.decoded + len(broken):,} that were decoded")
        lines += [f"{'':<{_INDENT + 2}}{line}" for line in broken[:5]]
        lines += [f"{'':<{_INDENT + 2}}and {len(broken) - 5:,} more"] if len(broken) > 5 else []
    return lines


def _pixels(report: Report) -> list[str]:
    found = report.pixels
    counts = ", ".join(f"{number} in {plural(count, 'image')}" for number, count in sorted(found.channels.items()))
    kind = "8 bits" if found.eight_bit else "whole numbers of more than 8 bits" if found.whole else "floating point"
    ratio = aspects(found)
    shapes = f"{ratio[0]:.2f}" if ratio[0] == ratio[-1] else f"{ratio[0]:.2f} to {ratio[-1]:.2f}, median {ratio[1]:.2f}"
    looked = f" ({plural(len(found.sizes), 'image')} of {report.parts[0].name} decoded)"
    return [
        *_row("sizes", f"{sizes_of(found)} (height x width); width by height {shapes}"),
        *_row("channels", f"{counts}; read as {found.in_chans}"),
        *_row("values", f"{kind}, {found.lowest:g} to {found.highest:g}{looked}"),
        *_row("mean", f"{_short(found.mean)}; deviation {_short(found.std)}"),
    ]


def _short(values: Sequence[float]) -> str:
    more = f" and {len(values) - 8} more" if len(values) > 8 else ""
    return numbers([float(f"{value:.4g}") for value in values[:8]]).replace(",", ", ") + more


def _copies(report: Report) -> list[str]:
    copies = report.copies
    compared = f"{plural(copies.hashed, 'image')} compared by their bytes, {copies.decoded:,} by their pixels"
    if not copies.sets:
        return _row("copies", f"none: {compared}")
    alike = len(copies.sets) - copies.by_bytes
    return _row(
        "copies",
        f"{plural(len(copies.sets), 'picture')} more than once ({copies.by_bytes:,} with equal bytes, {alike:,} with "
        f"equal pixels alone), {len(copies.leaks):,} of them in several parts: {compared}",
    )


def _truth(report: Report) -> list[str]:
    lines = []
    if report.table:
        roles: dict[str, list[str]] = {}
        for column in report.table.columns:
            roles.setdefault(column.role, []).append(column.name)
        listed = "; ".join(f"{role}: {some(names, 6)}" for role, names in roles.items())
        lines += _row("columns", f"{plural(report.table.rows, 'row')}; {listed}")
    lines += _numbers(report.numbers) if report.numbers else []
    lines += ["", *_classes(report.classes)] if report.classes and not report.objects else []
    lines += ["", *_masks(report.masks)] if report.masks else []
    lines += _objects(report.objects) if report.objects else []
    return lines


def _numbers(found: Numbers) -> list[str]:
    lines = []
    for name, low, middle, high, unknown in zip(
        found.names, found.lowest, found.median, found.highest, found.unknown, strict=True
    ):
        lines += _row("measures", f"{name}: {low:g} to {high:g}, median {middle:g}, {unknown:,} unknown")
    return lines


def _classes(classes: Classes) -> list[str]:
    head = "images of {} classes" + ", several an image" * classes.several
    lines = _class_table(head, list(classes.counts), list(zip(classes.names, *classes.counts.values(), strict=True)))
    unknown = [f"{share:.1%} of the labels of {part}" for part, share in classes.unknown.items() if share]
    return lines + ([f"unknown: {', '.join(unknown)}"] if unknown else [])


def _class_table(head: str, parts: Sequence[str], rows: Sequence[tuple[object, ...]]) -> list[str]:
    """Return a table of the classes, the most frequent first; of many the first and the last."""
    ordered = sorted(rows, key=lambda row: -int(str(row[1])))
    cut, half = len(ordered) > _CLASSES, _CLASSES // 2
    lines = list(
        _table([head.format(f"{len(ordered):,}"), *parts], ordered[:half] + ordered[-half:] if cut else ordered)
    )
    lines[1 + half : 1 + half] = [f"  ... {len(ordered) - _CLASSES:,} more ..."] if cut else []
    return lines


def _masks(masks: Masks) -> list[str]:
    total = max(1, sum(masks.counts.values()))
    first = int(masks.zero_is_ignored)
    head = f"values of {masks.looked_at:,} of {plural(masks.total, 'mask')}"
    rows = []
    for value, count in sorted(masks.counts.items()):
        place = value - first
        name = "counts nothing" if value == 255 or place < 0 else "beyond the classes"
        name = masks.classes[place] if 0 <= place < len(masks.classes) and value != 255 else name
        rows.append((f"{value} {name}", f"{count / total:.2%}"))
    shown = rows if len(rows) <= _CLASSES else rows[:_CLASSES]
    more = [f"  ... {len(rows) - _CLASSES:,} more ..."] if len(rows) > _CLASSES else []
    return [*_table([head, "share"], shown), *more]


def _objects(objects: Mapping[str, Objects]) -> list[str]:
    lines, names = [], dict.fromkeys(name for found in objects.values() for name in found.classes)
    for part, found in objects.items():
        low, middle, high = found.sides
        lines += _row(
            "objects",
            f"{part}: {found.objects:,} in {plural(found.images, 'image')}, {found.background:,} of these without any, "
            f"at most {found.most:,} in one; sides {low:.0f} to {high:.0f} pixels, median {middle:.0f}",
        )
    rows = [(name, *(found.classes.get(name, 0) for found in objects.values())) for name in names]
    return [*lines, "", *_class_table("objects of {} classes", list(objects), rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    cells = [[str(cell) if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in [head, *rows]]
    for row in cells:
        row[0] = row[0] if len(row[0]) <= _NAME else row[0][: _NAME - 3] + "..."
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        yield "  ".join([f"{row[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))])


def _findings(report: Report) -> list[str]:
    if not report.findings:
        return ["Nothing stands out."]
    return [line for finding in report.findings for line in _row(finding.severity, finding.sentence)]
