"""Which trainings follow from what was found about a data set."""

import os
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from maetool.config.places import places
from maetool.data.sources.file_index import index_files
from maetool.errors import UsageError

from .findings import Finding
from .paste import Command, commands_for, options_of
from .report import Report
from .statistics import options_for

_REFUSED = ("labels", "masks", "objects", "parts")  # what errors are about for which a training is refused


def offer(report: Report, findings: Sequence[Finding]) -> list[Command]:
    """Return the commands that train on the data; none that would be refused.

    Args:
        report: what was found.
        findings: what is said of it.
    """
    refused = any(finding.severity == "error" and finding.about in _REFUSED for finding in findings)
    truth, model = _truth(report)
    table = options_of("train_dataloader.dataset", report.table.options if report.table else {})
    commands = commands_for(
        report.layout.task,
        report.data,
        options_for(report.pixels, flat=1.0),
        _reading(report),
        truth,
        model,
        report.pixels.eight_bit and report.pixels.in_chans == 3,
    )
    commands[0] = replace(commands[0], data=pictures_of(report))
    if not refused:
        return commands
    if not report.table:
        return [command for command in commands if command.task == "pretraining"]
    # Without its labels, and so without what says how they are read.
    plain = [option for option in commands[0].options if option not in table]
    return [replace(commands[0], options=plain)] if _opens(report.data) else []


def _opens(data: str) -> bool:
    try:
        places(Path(data), False)
    except UsageError:
        return False
    return True


def pictures_of(report: Report) -> str:
    """Return what to name as the data of a pretraining: all of it, or where masks would be read too, the images.

    Args:
        report: on the data.
    """
    if report.layout.task not in ("segmentation", "detection"):
        return report.data
    used = {part.source.path(index) for part in report.parts for index in range(len(part.source))}
    folders = [os.path.relpath(part.source.root, report.data) for part in report.parts]
    names = [".", os.path.commonpath(folders), *folders]
    data = [os.path.normpath(os.path.join(report.data, name)) if name != "." else report.data for name in names]
    return next((each for each in data if _reads_only(each, used)), report.data)


def _reads_only(data: str, used: Container[str]) -> bool:
    """Return whether a pretraining on `data` trains on images that are `used` alone."""
    try:
        index = index_files(places(Path(data), False)[0]["root"])
    except (UsageError, KeyError):  # refused, or no folder
        return False
    return all(index.path(i) in used for i in range(len(index)))


def findings_of_offers(report: Report, commands: Sequence[Command]) -> list[Finding]:
    """Return what to know before one of the `commands` for the data of a `report` is pasted."""
    found = []
    if commands and commands[0].data != report.data:
        sentence = f"Pretraining on {report.data} would read other pictures, too: its command names {commands[0].data}."
        found.append(Finding("note", "options", sentence))
    if len(commands) > 1 and report.pixels.eight_bit and report.pixels.in_chans == 3:
        sentence = (
            "Published weights expect their own mean and deviation: leave these two out where --init names such "
            "weights, and keep them for an encoder that was pretrained with them."
        )
        found.append(Finding("note", "options", sentence))
    return found


def _reading(report: Report) -> dict[str, Any]:
    """Return the arguments of a dataset that say how its images are read and held out."""
    counts = report.pixels.remarks.counts
    reading: dict[str, Any] = {"exif": True} if counts["exif"] else {}
    reading |= {"eight_bit": True} if report.pixels.options.eight_bit else {}
    plain = report.layout.task in ("pretraining", "classification")
    reading |= {"nodata": "auto"} if plain and (counts["nodata"] or report.pixels.gaps) else {}
    return reading | (report.table.options if report.table else {})


def _truth(report: Report) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the arguments of each part that say what its truth is, and options of the model."""
    if report.masks and report.layout.masks:
        truth = {part: report.layout.masks.arguments(part) for part in report.layout.parts}
        first = next(iter(truth))
        for part in {"train", "val"} - truth.keys() - ({"train"} if first == "all" else set()):
            truth[part] = dict(truth[first])  # there is no other, and the config names one
        truth[first] |= report.masks.arguments
        return truth, [] if report.masks.named else [f"model.num_classes={len(report.masks.classes)}"]
    alone = any(part.has_boxes_alone for part in report.parts)
    return {}, ["model.with_masks=False"] if alone else []
