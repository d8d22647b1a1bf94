"""Which trainings follow from what was found about a data set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from maetool.config.layouts.places import places
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
        reading_of_data(report),
        truth,
        model,
        report.pixels.eight_bit and report.pixels.in_chans == 3,
    )
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


def findings_of_offers(report: Report, commands: Sequence[Command]) -> list[Finding]:
    """Return what to know before one of the `commands` for the data of a `report` is pasted."""
    found = []
    if len(commands) > 1 and report.pixels.eight_bit and report.pixels.in_chans == 3:
        sentence = (
            "Published weights expect their own mean and deviation: leave these two out where --init names such "
            "weights, and keep them for an encoder that was pretrained with them."
        )
        found.append(Finding("note", "options", sentence))
    return found


def reading_of_data(report: Report) -> dict[str, Any]:
    """Return the arguments of a dataset that say how its images are read and held out.

    Args:
        report: what was found.
    """
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
