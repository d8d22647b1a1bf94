"""Looks at a data set as a training would, and further."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.codecs.options import ReadOptions
from maetool.data.datasets.segmentation import CLASSES_FILE
from maetool.data.datasets.subsets import evenly_spaced
from maetool.data.sources.urls import is_url
from maetool.errors import UsageError

from .bars import Bar, no_bar
from .columns import Table, findings_of_table, findings_of_tables_beside, look_at_table
from .copies import Place, find_copies, findings_of_copies
from .files import count_files, findings_of_files
from .findings import Finding, most_severe_first
from .groups import findings_of_groups
from .labels import count_labels, findings_of_classes, summarise_numbers
from .layout import Layout, find_layout
from .masks import Masks, findings_of_masks, look_at_masks
from .objects import findings_of_objects, look_at_objects
from .offers import findings_of_offers, offer
from .other_labels import findings_of_other_labels
from .parts import Part, open_part, without_log
from .pixels import Broken, fitting_channels, look_at
from .report import Report
from .statistics import Statistics
from .truth import findings_of_truth
from .values import findings_of_values

_WITH_GAPS = ReadOptions(gaps=True)
_ALL = ""  # of the statistics, those of all parts


@dataclass(frozen=True)
class Effort:
    """How much is looked at.

    Attributes:
        max_images: images of all parts together that are decoded; all are counted and compared by their bytes.
        workers: threads that read and decode.
        max_pixels: see `decode_image`.
        bar: shows the progress.
    """

    max_images: int = 2000
    workers: int = 1
    max_pixels: int = MAX_PIXELS
    bar: Bar = no_bar


def inspect_data(data: str | Path, task: str | None = None, effort: Effort | None = None) -> Report:
    """Return what a data set is.

    Args:
        data: what `--data` takes: a folder, list, table, archive ...
        task: what its truth is for, one of `TASKS`; None, what it looks like.
        effort: how much is looked at.

    Raises:
        UsageError: nothing there that can be used, or not the truth of the task.
    """
    effort = effort or Effort()
    with without_log():
        root = str(data) if is_url(data) else Path(data).expanduser()
        layout = find_layout(root, task)
        masks = look_at_masks(Path(root), layout.masks, effort.max_pixels) if layout.masks else None
        table = _table_of(layout)
        if table and not table.has_labels and task is None:
            layout = find_layout(root, "pretraining")
        if table and "targets" in table.options and layout.task == "classification":
            layout = replace(layout, task="regression")
        arguments = _arguments(layout, masks, table)
        parts = _open(layout, arguments, 3)
        in_chans = _in_chans(parts, effort)
        parts = parts if in_chans == 3 else _open(layout, arguments, in_chans)
        return _report(str(data), Path(root), layout, parts, in_chans, masks, table, effort)


def _table_of(layout: Layout) -> Table | None:
    first = next(iter(layout.parts.values()))
    return look_at_table(first["csv_file"]) if "csv_file" in first else None


def _arguments(layout: Layout, masks: Masks | None, table: Table | None) -> dict[str, Any]:
    """Return the arguments of the datasets that follow from their truth."""
    if masks:
        return masks.arguments
    return dict(table.options) if table else {}


def _open(layout: Layout, arguments: dict[str, Any], in_chans: int) -> list[Part]:
    parts, problem = [], None
    for name, place in layout.parts.items():
        try:
            parts.append(open_part(name, place, in_chans, **arguments))
        except UsageError as error:
            problem = problem or error
            layout.findings.append(Finding("error", "parts", f"{name}: {error}"))
    if problem and not parts:
        raise problem
    return _joined(parts)


def _joined(parts: list[Part]) -> list[Part]:
    """Return the parts, those joined that were to be held out of the same images, which could not be divided."""
    if len(parts) < 2 or not (parts[0].undivided and parts[1].undivided):
        return parts
    return [replace(parts[0], name="all"), *parts[2:]]


def _in_chans(parts: Sequence[Part], effort: Effort) -> int:
    source = parts[0].source
    return fitting_channels(source, evenly_spaced(len(source), 100).tolist(), effort.max_pixels)


def _report(
    data: str,
    root: Path,
    layout: Layout,
    parts: list[Part],
    in_chans: int,
    masks: Masks | None,
    table: Table | None,
    effort: Effort,
) -> Report:
    sources = {part.name: part.source for part in parts}
    statistics, digests = _look(parts, in_chans, effort, _WITH_GAPS)
    if statistics[_ALL].mixes_bits:
        statistics, digests = _look(parts, in_chans, effort, _WITH_GAPS._replace(eight_bit=True))
    first, everything = statistics[parts[0].name], statistics[_ALL]
    if not first.sizes:
        raise UsageError(f"No image of {data} can be read; the first: {first.broken[0]}.")
    copies = find_copies(sources, digests, effort.workers, effort.bar)
    report = Report(
        data=data,
        layout=layout,
        parts=parts,
        files=count_files(root, sources, _truth_files(root, layout)),
        pixels=first,
        broken=everything.broken,
        copies=copies,
        findings=[],
        commands=[],
        table=table,
        classes=None if masks else count_labels(parts),
        numbers=summarise_numbers(parts),
        masks=masks,
        objects={part.name: found for part in parts if (found := look_at_objects(part))},
    )
    findings = _findings(report, everything, root)
    report.commands = offer(report, findings)
    findings += findings_of_offers(report, report.commands)
    report.findings = most_severe_first(findings)
    return report


def _look(
    parts: Sequence[Part], in_chans: int, effort: Effort, options: ReadOptions
) -> tuple[dict[str, Statistics], dict[Place, bytes]]:
    """Return the statistics of each part and of all, and the digests of the pixels that were decoded."""
    total = sum(len(part.source) for part in parts)
    share = min(1.0, effort.max_images / max(1, total))
    chosen = {p.name: evenly_spaced(len(p.source), max(1, round(share * len(p.source)))).tolist() for p in parts}
    statistics, digests = {_ALL: Statistics(in_chans, options)}, {}
    with effort.bar("decoding", sum(map(len, chosen.values()))) as tell:
        for part in parts:
            found = Statistics(in_chans, options)
            for look in look_at(part.source, chosen[part.name], in_chans, effort.workers, effort.max_pixels, options):
                tell()
                found.add(look)
                statistics[_ALL].add(look)
                if not isinstance(look, Broken):
                    digests[part.name, look.index] = look.digest
            statistics[part.name] = found.finish()
    statistics[_ALL].finish()
    return statistics, digests


def _truth_files(root: Path, layout: Layout) -> list[str]:
    """Return the files and folders that hold the truth, absolute."""
    found = [os.path.abspath(root / CLASSES_FILE)] if layout.masks else []
    for place in layout.parts.values():
        found += [os.path.abspath(place["csv_file"])] if "csv_file" in place else []
        if "annotations" in place:
            found.append(os.path.abspath(root / place["annotations"] if layout.masks else place["annotations"]))
    return found


def _of_problem(part: Part) -> Finding:
    if part.has_boxes_alone:
        sentence = f"The objects of {part.name} have boxes, but no outlines that can be drawn: the options say so."
        return Finding("note", "objects", sentence)
    return Finding("error", "labels", part.problem)


def _findings(report: Report, everything: Statistics, root: Path) -> list[Finding]:
    found = list(report.layout.findings)
    found += [_of_problem(part) for part in report.parts if part.problem]
    found += findings_of_values(everything)
    for part in report.parts:
        found += findings_of_truth(part)
        if part.name in report.objects:
            found += findings_of_objects(part, report.objects[part.name])
    found += findings_of_copies(report.copies, report.parts, report.layout.task != "pretraining")
    found += findings_of_table(report.table) if report.table else []
    found += findings_of_groups(report.parts)
    found += findings_of_classes(report.classes) if report.classes else []
    found += findings_of_masks(report.masks) if report.masks else []
    found += [*findings_of_files(report.files), *findings_of_tables_beside(root)]
    if root.is_dir() and not report.objects:
        found += findings_of_other_labels(root)
    return found
