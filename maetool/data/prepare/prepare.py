"""Re-encodes a folder of photographs once, with a bounded short side, so that later reading is fast."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maetool.data.codecs.image_size import MAX_PIXELS
from maetool.data.sources.file_index import FileIndex, index_files
from maetool.data.sources.fingerprint import fingerprint
from maetool.data.sources.packed.shards import SETTINGS, TABLE, ShardTable, ShardWriter, members_of
from maetool.division import Part, differences, remove_parts
from maetool.errors import UsageError
from maetool.reading import read_file
from maetool.writing import write_file, write_text

from .encoding import AHEAD, Tasks, open_pool
from .encoding import Recipe as Recipe
from .encoding import encode as encode

REPORT = "left_out.txt"
Progress = Callable[[int], Any]
LeftOut = list[tuple[int, str]]  # index of an image, and the line that says why it is left out


@dataclass(frozen=True)
class Job:
    """What becomes of a folder or list of images.

    Attributes:
        source: as the user names it.
        files: the images.
        names: their names in the target.
        folder: the target.
        recipe: what to make of each.
        max_pixels: larger images are left out.
    """

    source: str
    files: FileIndex
    names: list[str]
    folder: Path
    recipe: Recipe
    max_pixels: int

    @classmethod
    def of(cls, source: str, target: str, recipe: Recipe, max_pixels: int = MAX_PIXELS) -> "Job":
        """Find out what there is to do.

        Args:
            source: folder, list or table of images.
            target: folder of the prepared set.
            recipe: what is made of each image.
            max_pixels: height * width of an image at most.

        Raises:
            UsageError: no images, two that would have one name, or a target inside of the source.
        """
        files = index_files(source)
        names = _target_names(files)
        if os.path.abspath(target).startswith(os.path.join(files.root, "")) and os.path.isdir(source):
            raise UsageError(f"{target} lies inside of {source}, and would become part of it: choose a folder outside.")
        return cls(source, files, names, Path(target), recipe, max_pixels)

    @property
    def settings(self) -> dict[str, Any]:
        """What the target notes of its making."""
        digest = hashlib.sha256("\0".join(self.names).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return {**asdict(self.recipe), "source": self.files.root, "images": len(self.files), "names": digest}

    @property
    def settings_of_part(self) -> dict[str, Any]:
        """What each part notes of its making: also what the target's note leaves out."""
        contents = fingerprint(self.files)["contents"]
        return {**self.settings, "contents": contents, "max_pixels": self.max_pixels}

    @property
    def is_complete(self) -> bool:
        """Whether the target is a set that is written, or joined."""
        last = TABLE if self.recipe.layout == "shards" else REPORT
        return (self.folder / REPORT).is_file() and (self.folder / last).is_file()

    def shard(self, number: int) -> Path:
        """Return the path of shard `number`, from 0."""
        return self.folder / f"shard-{number:06d}.tar"

    def in_shard(self, number: int) -> range:
        """Return the indices of the images of shard `number`, from 0."""
        size = self.recipe.images_per_shard
        return range(number * size, min((number + 1) * size, len(self.names)))

    def shards_of(self, part: Part) -> range:
        """Return the numbers of the shards of a part."""
        return part.range_of(-(-len(self.names) // self.recipe.images_per_shard))

    def images_of(self, part: Part) -> range:
        """Return the indices of the images of a part, whose shards are complete ones."""
        if self.recipe.layout != "shards":
            return part.range_of(len(self.names))
        shards, size = self.shards_of(part), self.recipe.images_per_shard
        return range(min(shards.start * size, len(self.names)), min(shards.stop * size, len(self.names)))


def prepare(
    source: str,
    target: str,
    recipe: Recipe,
    workers: int,
    progress: Progress,
    max_pixels: int = MAX_PIXELS,
    part: Part | None = None,
) -> tuple[int, list[str]]:
    """Write the prepared images of a folder or text list; a second call goes on where the first was stopped.

    Args:
        source: folder of any depth, or text list.
        target: folder to write; it may exist if an earlier call with the same arguments wrote it.
        recipe: what to make.
        workers: processes.
        progress: called with the number of images done since the last call.
        max_pixels: larger images are left out; see `decode_image`.
        part: write this part only; when all are there, `join` completes the set.

    Returns:
        The number of images written, now and earlier, and a line "path: reason" for each that was left out; those of
        the part.

    Raises:
        UsageError: no images, none that can be read, two that would have one name, or a target with other content.
    """
    job = Job.of(source, target, recipe, max_pixels)
    claim(job)
    own = part or Part(0, 1)
    write = _write_shards if recipe.layout == "shards" else _write_folder
    with open_pool(workers) as pool:
        left_out = write(job, own, Tasks(job.files, recipe, pool, AHEAD * workers, max_pixels), progress)
    if part is None:
        finish(job, left_out)
    elif not job.is_complete:
        _note_part(job, part, left_out)
    return len(job.images_of(own)) - len(left_out), [line for _, line in left_out]


def finish(job: Job, left_out: LeftOut) -> None:
    """Write what completes a set: the list of what was left out, and the table of the shards.

    Args:
        job: all of whose images were tried.
        left_out: index and line of each image that could not be encoded.

    Raises:
        UsageError: nothing was written, because no image can be read.
    """
    write_text(job.folder / REPORT, "".join(f"{line}\n" for _, line in left_out))
    if len(left_out) == len(job.files):
        raise UsageError(
            f"None of the {len(job.files)} files in {job.source} can be prepared; the first: {left_out[0][1]}."
        )
    if job.recipe.layout == "shards":
        ShardTable.of(job.folder, [job.shard(number).name for number in job.shards_of(Part(0, 1))]).save()
    remove_parts(job.folder / SETTINGS)


def _note_part(job: Job, part: Part, left_out: LeftOut) -> None:
    shards = [job.shard(number) for number in job.shards_of(part)] if job.recipe.layout == "shards" else []
    lengths = {shard.name: shard.stat().st_size for shard in shards}
    note = {"part": str(part), **job.settings_of_part, "shards": lengths, "left_out": left_out}
    write_text(part.file_beside(job.folder / SETTINGS), json.dumps(note, indent=2) + "\n")


def _target_names(files: FileIndex) -> list[str]:
    names: dict[str, int] = {}
    for i in range(len(files)):
        # A list may name files beside its folder; their way up has no meaning in the target.
        parts = [part for part in files.relative(i).split(os.sep) if part != ".."]
        name = "/".join(parts)
        name = name if name.lower().endswith((".jpg", ".jpeg")) else f"{name}.jpg"
        if names.setdefault(name, i) != i:
            raise UsageError(
                f"{files.path(names[name])} and {files.path(i)} would both be written as {name}: rename one, or leave "
                "it out."
            )
    return list(names)


def claim(job: Job) -> None:
    """Note in the target what is being made there, or compare it with what an earlier call noted.

    Args:
        job: to begin or to go on with.

    Raises:
        UsageError: the target holds another set, or something else.
    """
    note = job.folder / SETTINGS
    # Another part may claim the folder at the same time: it writes the note first, from a hidden temporary file.
    occupied = job.folder.is_dir() and any(not path.name.startswith(".") for path in job.folder.iterdir())
    if note.exists():
        earlier = {"exif": False, **read_note(note)}  # sets of 0.1 do not name it
        if differ := differences(earlier, job.settings):
            raise UsageError(
                f"{job.folder} holds a set that was prepared otherwise ({', '.join(differ)}): choose another folder, "
                "or delete this one."
            )
    elif occupied:
        raise UsageError(f"{job.folder} is not empty, and was not written by this tool: choose a new folder.")
    else:
        write_text(note, json.dumps(job.settings, indent=2) + "\n")


def read_note(note: Path) -> dict[str, Any]:
    """Return the content of a note, empty where it is damaged."""
    try:
        content = json.loads(read_file(note))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_shards(job: Job, part: Part, tasks: Tasks, progress: Progress) -> LeftOut:
    left_out: LeftOut = []
    for number in job.shards_of(part):
        indices, path = job.in_shard(number), job.shard(number)
        if path.exists():
            left_out += _left_out_of(path, indices, job.names, tasks)
            progress(len(indices))
            continue
        with ShardWriter(path) as writer:
            for i, result in tasks.run(indices):
                left_out.append((i, result)) if isinstance(result, str) else writer.add(job.names[i], result)
                progress(1)
    return left_out


def _left_out_of(path: Path, indices: range, names: Sequence[str], tasks: Tasks) -> LeftOut:
    """Return what an earlier call left out of a shard, and why."""
    present = {name for name, _, _ in members_of(path)}
    again = f"it was left out of {path} earlier, but can be read now: delete that shard, and run the command again"
    missing = tasks.run([i for i in indices if names[i] not in present])
    return [(i, result if isinstance(result, str) else f"{tasks.files.path(i)}: {again}") for i, result in missing]


def _write_folder(job: Job, part: Part, tasks: Tasks, progress: Progress) -> LeftOut:
    left_out: LeftOut = []
    images = job.images_of(part)
    todo = [i for i in images if not (job.folder / job.names[i]).exists()]
    progress(len(images) - len(todo))
    for i, result in tasks.run(todo):
        if isinstance(result, str):
            left_out.append((i, result))
        else:
            write_file(job.folder / job.names[i], result, durable=False)
        progress(1)
    return left_out
