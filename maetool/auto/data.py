"""Where the images and labels of `maetool auto` are, and what the images are like."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maetool.config.user_data import places
from maetool.data.codecs.image_size import chosen_limit
from maetool.data.datasets.labels import aligned, count_classes, describe_balance, labels_of
from maetool.errors import UsageError
from maetool.inspection.findings import NOTHING, Finding, some
from maetool.inspection.inspect import Effort, inspect_data
from maetool.inspection.offers import reading_of_data
from maetool.inspection.parts import without_log
from maetool.inspection.paste import Command
from maetool.inspection.report import Report
from maetool.messages import plural
from maetool.registry import DATASETS

from .facts import Facts, facts_of

_LOOKED_AT = 500  # images that are decoded
_BROKEN = 0.05  # share of broken images above which the default limit of a training, 0.1, is too near
# Options of datasets that findings ask for, and that follow from the data.
_ANSWERS = ("exif", "eight_bit", "nodata", "max_broken", "group_column", "missing", "uncertain")
_FEWEST = 40  # labelled images from which candidates are judged by labels
LABELS = (40, 100, 200)  # numbers of labels to judge with, beside all


@dataclass(frozen=True)
class Data:
    """The images to train on, and those with labels.

    Attributes:
        place: dataset arguments of the images to train on.
        facts: of these.
        labelled, held_back: dataset arguments of the labelled images to fit on and to predict; None without labels.
        numbers: how many labels the encoder is judged with; None is all.
        findings: errors and warnings of `maetool check`.
        commands: the trainings that it offers.
    """

    place: dict[str, Any]
    facts: Facts
    labelled: dict[str, Any] | None
    held_back: dict[str, Any] | None
    numbers: list[int | None]
    findings: list[Finding]
    commands: list[Command]

    @property
    def answers(self) -> list[str]:
        """What the plan itself sets of what findings ask for, so that nobody has to."""
        both = {**(self.labelled or {}), **self.place}
        return [f"dataset.{name}={both[name]!r}" for name in _ANSWERS if name in both]

    @property
    def judging(self) -> dict[str, Any] | None:
        """The labelled images that candidates are judged by; None if there are too few, or none."""
        return self.labelled if self.facts.labelled >= _FEWEST else None


def look(folder: str, labels: str | None, task: str, workers: int, max_pixels: int | None = None) -> Data:
    """Return what is there.

    Args:
        folder: what `--data` of `maetool train` takes.
        labels: table or folder of labelled images; None takes those of `folder`, if there are any.
        task: what the encoder is for.
        workers: threads that read.
        max_pixels: largest number of pixels of an image; None for the default.

    Raises:
        UsageError: no images, images without anything to learn, or labels that cannot be read.
    """
    effort = Effort(_LOOKED_AT, workers, chosen_limit(max_pixels))
    report = inspect_data(folder, None, effort)
    nothing = next((finding.sentence for finding in report.findings if finding.about == NOTHING), "")
    if nothing:
        raise UsageError(f"{folder}: {nothing}")
    truth = inspect_data(_there(labels), None, effort) if labels else report
    with without_log():
        labelled, held_back = _labelled(truth, task, max_pixels)
        if labels and not labelled:
            raise UsageError(f"--labels is {labels}, which has no classes or numbers for `--task {task}`.")
        place = labelled if labelled and not labels else _all_of(folder) | _reading(report, max_pixels)
        number, of_classes = _count(labelled, held_back) if labelled and held_back else (0, {})
        facts = facts_of(report, place, number, len(of_classes))
    numbers = [each for each in LABELS if max(2, len(of_classes)) <= each < number]
    worth_saying = [finding for finding in report.findings if finding.severity in ("error", "warning")]
    worth_saying += _of_single_images(of_classes)
    return Data(place, facts, labelled, held_back, [*numbers, None], worth_saying, truth.commands)


def _of_single_images(of_classes: Mapping[str, int]) -> list[Finding]:
    """Return what to say of classes with one labelled image to train on.

    Args:
        of_classes: the number of these images of each class.

    Raises:
        UsageError: no class has two.
    """
    of = f"of {plural(len(of_classes), 'class')}"
    single = [name for name, number in of_classes.items() if number == 1]
    if single and len(single) == len(of_classes):
        raise UsageError(
            f"All {plural(len(single), 'class')} ({some(single)}) have one labelled image to train on, beside those "
            "held back, from which nothing can be told apart: add some, or check that the labels are classes."
        )
    sentence = (
        f"{len(single):,} {of} ({some(single)}) have one labelled image to train on, so that their scores tell little."
    )
    return [Finding("warning", "classes", sentence)] if single else []


def _there(labels: str) -> str:
    """Return the value of --labels.

    Raises:
        UsageError: it does not exist.
    """
    if not Path(labels).exists():
        raise UsageError(f"--labels is {labels}, which does not exist: name a table or a folder of class folders.")
    return labels


def _all_of(folder: str) -> dict[str, Any]:
    """Return the place of all images to train on: without labels nothing of a table is held back."""
    return {name: value for name, value in places(folder, False)[0].items() if name != "part"}


def _reading(report: Report, max_pixels: int | None) -> dict[str, Any]:
    """Return the arguments of a dataset that say how its images are read, and how many of them may be broken."""
    reading = reading_of_data(report) | ({"max_pixels": max_pixels} if max_pixels else {})
    share = len(report.broken) / max(1, len(report.broken) + len(report.pixels.sizes))
    return reading | ({"max_broken": round(min(1.0, 2 * share), 2)} if share > _BROKEN else {})


def _labelled(report: Report, task: str, max_pixels: int | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the places of labelled images to fit on and to predict; None without labels, or for dense tasks."""
    if task not in ("classify", "retrieve") or report.layout.task not in ("classification", "regression"):
        return None, None
    fit, predict = places(report.data, True)
    reading = _reading(report, max_pixels)
    return fit | reading, predict | reading


def _count(place: dict[str, Any], held_back: dict[str, Any]) -> tuple[int, dict[str, int]]:
    """Return the number of labelled images to fit on, and of those of each class; {} for numbers.

    Raises:
        UsageError: a class has no image to fit on, or images that are held back have another class.
    """
    dataset = _build(place)
    if getattr(dataset, "targets", None):
        return len(dataset), {}
    labels = labels_of(dataset)
    describe_balance(labels)  # which refuses a class without images
    aligned(labels_of(_build(held_back)), labels.classes)  # before a training, at whose end they would be compared
    return len(labels.values), dict(zip(labels.classes, count_classes(labels), strict=True))


def _build(place: dict[str, Any]) -> Any:
    return DATASETS.build({**place, "in_chans": 3, "pipeline": [], "max_broken": 1.0})
