"""All that was found about a data set."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from maetool.writing import to_json

from .columns import Table
from .copies import Copies
from .files import Files
from .findings import Finding
from .labels import Classes, Numbers
from .layout import Layout
from .masks import Masks
from .objects import Objects
from .parts import Part
from .paste import Command
from .statistics import Statistics


@dataclass
class Report:
    """What a data set is.

    Attributes:
        data: what was named.
        layout: how it is laid out.
        parts: its parts, opened.
        files: the files there are.
        pixels: of the images of the first part that were looked at.
        broken: "path: reason" of each image that cannot be read.
        copies: images that are equal.
        findings: what is worth saying, the most severe first.
        commands: the trainings that follow.
        table, classes, numbers, masks, objects: what there is of truth; None or empty where there is none.
    """

    data: str
    layout: Layout
    parts: list[Part]
    files: Files
    pixels: Statistics
    broken: list[str]
    copies: Copies
    findings: list[Finding]
    commands: list[Command]
    table: Table | None = None
    classes: Classes | None = None
    numbers: Numbers | None = None
    masks: Masks | None = None
    objects: dict[str, Objects] = field(default_factory=dict)

    @property
    def problems(self) -> list[Finding]:
        """The findings for which a training is refused or its result wrong."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def to_json(self) -> str:
        """Return everything as JSON."""
        return to_json(_content(self), indent=1)


def _content(report: Report) -> dict[str, Any]:
    names = {part.name: part.source for part in report.parts}
    return {
        "data": report.data,
        "task": report.layout.task,
        "layout": report.layout.words,
        "parts": {part.name: {"images": len(part.source), "dataset": _plain(part.place)} for part in report.parts},
        "files": _files(report.files),
        "broken": report.broken,
        "pixels": _pixels(report.pixels),
        "copies": {
            "images_compared_by_bytes": report.copies.hashed,
            "images_compared_by_pixels": report.copies.decoded,
            "sets": [
                [{"part": part, "path": names[part].path(index)} for part, index in places]
                for places in report.copies.sets
            ],
        },
        "table": report.table and asdict(report.table),
        "classes": report.classes and asdict(report.classes),
        "numbers": report.numbers and asdict(report.numbers),
        "masks": report.masks and asdict(report.masks),
        "objects": {part: asdict(found) for part, found in report.objects.items()},
        "findings": [asdict(finding) for finding in report.findings],
        "commands": [{**asdict(command), "words": command.words} for command in report.commands],
    }


def _files(files: Files) -> dict[str, Any]:
    passed_over = [{"ending": e, "reason": why, "files": n} for (e, why), n in files.passed_over.most_common()]
    counts = {"used": dict(files.used), "truth": dict(files.truth)}
    return {**counts, "passed_over": passed_over, "empty_folders": files.empty_folders}


def _pixels(found: Statistics) -> dict[str, Any]:
    sides = {
        name: sorted(side) for name, side in zip(("height", "width"), zip(*found.sizes, strict=True), strict=False)
    }
    return {
        "images": len(found.sizes),
        "in_chans": found.in_chans,
        "channels": {str(number): count for number, count in sorted(found.channels.items())},
        "arrays": found.arrays,
        "eight_bit": found.eight_bit,
        "whole_numbers": found.whole,
        "range": [found.lowest, found.highest] if found.sizes else None,
        "mean": found.mean,
        "std": found.std,
        **{name: [each[0], each[len(each) // 2], each[-1]] for name, each in sides.items() if each},
        "aspect": aspects(found),
        "exif_turned": found.remarks.counts["exif"],
    }


def aspects(found: Statistics) -> list[float]:
    """Return the smallest, the median and the largest width by height in the statistics `found`."""
    ordered = sorted(width / height for height, width in found.sizes)
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]] if ordered else []


def _plain(place: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | int | float | bool | list | dict) else str(value)
        for name, value in place.items()
    }


def endings(counts: Counter[str], number: int = 6) -> str:
    """Return the commonest `number` of endings with their counts, in words."""
    ordered = counts.most_common()
    more = f" and {len(ordered) - number} more endings" if len(ordered) > number else ""
    return ", ".join(f"{count:,} {ending}" for ending, count in ordered[:number]) + more
