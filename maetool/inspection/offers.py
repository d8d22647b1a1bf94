"""Which trainings follow from what was found about a data set."""

from collections.abc import Sequence
from typing import Any

from .findings import Finding
from .paste import Command, commands_for
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
    commands = commands_for(
        report.layout.task,
        report.data,
        options_for(report.pixels, flat=1.0),
        _reading(report),
        truth,
        model,
        report.pixels.eight_bit and report.pixels.in_chans == 3,
    )
    if not refused:
        return commands
    return [] if report.table else [command for command in commands if command.task == "pretraining"]


def _reading(report: Report) -> dict[str, Any]:
    """Return the arguments of a dataset that say how its images are read and held out."""
    counts = report.pixels.remarks.counts
    reading: dict[str, Any] = {"exif": True} if counts["exif"] else {}
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
