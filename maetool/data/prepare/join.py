"""Joins the parts of a prepared set that several machines wrote to one folder."""

import os
from pathlib import Path
from typing import Any

from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.sources.packed.shards import SETTINGS, members_of
from maetool.division import Part, check_part, complete_parts, remove_parts
from maetool.errors import UsageError

from .prepare import REPORT, Job, LeftOut, Recipe, claim, finish, read_note


def join(source: str, target: str, recipe: Recipe, max_pixels: int = MAX_PIXELS) -> tuple[int, list[str]]:
    """Complete a set of which all parts are written; its files are then those that one machine writes.

    Args:
        source, target, recipe, max_pixels: what the parts were made with, see `prepare`.

    Returns:
        The number of images written, and a line "path: reason" for each that was left out.

    Raises:
        UsageError: a part is missing, damaged, or was made otherwise.
    """
    job = Job.of(source, target, recipe, max_pixels)
    note = job.folder / SETTINGS
    if not note.exists():  # nothing is there, and a refused join writes nothing
        complete_parts(note)
    claim(job)
    if job.is_complete:
        remove_parts(note)  # of a join that was killed at its end
        left_out = (job.folder / REPORT).read_text("utf-8", "surrogateescape").splitlines()
        return len(job.files) - len(left_out), left_out
    skipped: LeftOut = []
    expected = job.settings_of_part
    for part, file in complete_parts(note).items():
        content = read_note(file)
        check_part(part, file, content, expected)
        skipped += _checked(job, part, file, content)
    finish(job, skipped)
    return len(job.files) - len(skipped), [line for _, line in skipped]


def _checked(job: Job, part: Part, file: Path, note: dict[str, Any]) -> LeftOut:
    """Return what a part left out, after comparing its note with its files."""
    left_out = [(int(index), str(line)) for index, line in note.get("left_out", ())]
    lacking = {index for index, _ in left_out}
    images = job.images_of(part)
    if not lacking <= set(images):
        raise UsageError(f"{file} is damaged: delete it, and run the command with --part {part} again.")
    if job.recipe.layout == "shards":
        for number in job.shards_of(part):
            expected = [job.names[i] for i in job.in_shard(number) if i not in lacking]
            _check_shard(job.shard(number), part, note.get("shards", {}).get(job.shard(number).name), expected)
        return left_out
    absent = [job.names[i] for i in images if i not in lacking and not (job.folder / job.names[i]).is_file()]
    if absent:
        raise UsageError(
            f"{len(absent)} images of part {part} are missing (first {job.folder / absent[0]}): run the command with "
            f"--part {part} again."
        )
    return left_out


def _check_shard(path: Path, part: Part, length: int | None, expected: list[str]) -> None:
    size = os.path.getsize(path) if path.is_file() else None
    if size is None:
        what = "is missing"
    elif size != length:
        what = f"has {size:,} bytes, but its part wrote {length}"
    elif [name for name, _, _ in members_of(path)] != expected:
        what = "holds other images than it should"
    else:
        return
    raise UsageError(f"{path} {what}: delete it, and run the command with --part {part} again.")
