"""Re-encodes a folder of photographs once, with a bounded short side, so that later reading is fast."""

import hashlib
import json
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

import cv2
import torch

from maetool.data.codecs.image_size import MAX_PIXELS, most_bytes
from maetool.data.codecs.images import UnreadableImage, decode_image, read_bytes
from maetool.data.codecs.jpeg import read_header
from maetool.data.codecs.options import ReadOptions
from maetool.data.codecs.orientation import UPRIGHT, orientation_of
from maetool.data.codecs.resize import resize
from maetool.data.sources.file_index import FileIndex, index_files
from maetool.data.sources.packed.shards import SETTINGS, ShardTable, ShardWriter, members_of
from maetool.errors import UsageError
from maetool.reading import read_file
from maetool.writing import write_file, write_text

REPORT = "left_out.txt"
_CHUNK = 16  # images of a task; small, so that the bar moves
_AHEAD = 8  # tasks a worker may be ahead of the writing


@dataclass(frozen=True)
class Recipe:
    """What is made of each image.

    Attributes:
        short_side: larger images are shrunk until their short side has this many pixels.
        quality: of the JPEG files, 1 to 100.
        layout: "shards" or "folder".
        images_per_shard: how many images a tar file holds.
        exif: turn and mirror photographs as EXIF says, because the prepared ones no longer say it.
    """

    short_side: int = 256
    quality: int = 90
    layout: str = "shards"
    images_per_shard: int = 4096
    exif: bool = False

    def __post_init__(self) -> None:
        for name, least, most in (("short_side", 1, 65500), ("quality", 1, 100), ("images_per_shard", 1, 10**9)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise UsageError(f"{name} is {value}: give a number from {least} to {most}.")


def encode(data: bytes, recipe: Recipe, name: str, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return a JPEG file of a photograph with a bounded short side; a JPEG file that is small enough stays as it is.

    Args:
        data: content of the file.
        recipe: short side, quality, EXIF.
        name: what errors call the file.
        max_pixels: height * width at most.

    Raises:
        UnreadableImage: the bytes are no photograph, or a larger one, see `decode_image`.
    """
    image = decode_image(data, name=name, max_pixels=max_pixels, options=ReadOptions(exif=recipe.exif))
    if image.dtype != torch.uint8:
        raise UnreadableImage(name, "it holds other than 8-bit values, which JPEG cannot: train on it as it is")
    height, width = image.shape[-2:]
    header = read_header(data)
    as_is = not recipe.exif or orientation_of(data, header) == UPRIGHT
    if header and min(height, width) <= recipe.short_side and as_is:
        return data
    scale = min(1.0, recipe.short_side / min(height, width))
    image = resize(image, (max(1, round(height * scale)), max(1, round(width * scale)))) if scale < 1 else image
    pixels = cv2.cvtColor(image.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2BGR)
    try:
        done, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, recipe.quality])
    except cv2.error:
        done = False
    if not done:
        raise UnreadableImage(name, f"JPEG cannot hold {height} x {width} pixels")
    return encoded.tobytes()


def prepare(
    source: str,
    target: str,
    recipe: Recipe,
    workers: int,
    progress: Callable[[int], Any],
    max_pixels: int = MAX_PIXELS,
) -> tuple[int, list[str]]:
    """Write the prepared images of a folder or text list; a second call goes on where the first was stopped.

    Args:
        source: folder of any depth, or text list.
        target: folder to write; it may exist if an earlier call with the same arguments wrote it.
        recipe: what to make.
        workers: processes.
        progress: called with the number of images done since the last call.
        max_pixels: larger images are left out; see `decode_image`.

    Returns:
        The number of images written, now and earlier, and a line "path: reason" for each that was left out.

    Raises:
        UsageError: no images, none that can be read, two that would have one name, or a target with other content.
    """
    files = index_files(source)
    names = _target_names(files)
    folder = Path(target)
    if os.path.abspath(target).startswith(os.path.join(files.root, "")) and os.path.isdir(source):
        raise UsageError(f"{target} lies inside of {source}, and would become part of it: choose a folder outside.")
    _claim(folder, recipe, files, names)
    write = _write_shards if recipe.layout == "shards" else _write_folder
    with _pool(workers) as pool:
        tasks = _Tasks(files, recipe, pool, _AHEAD * workers, max_pixels)
        left_out = write(folder, names, recipe, tasks, progress)
    write_text(folder / REPORT, "".join(f"{line}\n" for line in left_out))
    if len(left_out) == len(files):
        raise UsageError(f"None of the {len(files)} files in {source} can be prepared; the first: {left_out[0]}.")
    return len(files) - len(left_out), left_out


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


def _claim(folder: Path, recipe: Recipe, files: FileIndex, names: list[str]) -> None:
    """Note in the target what is being made there, or compare it with what an earlier call noted."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    wanted = {**asdict(recipe), "source": files.root, "images": len(files), "names": digest}
    note = folder / SETTINGS
    if note.exists():
        found = {"exif": False, **_read_note(note)}  # sets of 0.1 do not name it
        differ = [
            f"{key} {found.get(key)} instead of {value}" for key, value in wanted.items() if found.get(key) != value
        ]
        if differ:
            raise UsageError(
                f"{folder} holds a set that was prepared otherwise ({', '.join(differ)}): choose another folder, or "
                "delete this one."
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty, and was not written by this tool: choose a new folder.")
    write_text(note, json.dumps(wanted, indent=2) + "\n")


def _read_note(note: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_file(note))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_shards(
    folder: Path, names: list[str], recipe: Recipe, tasks: "_Tasks", progress: Callable[[int], Any]
) -> list[str]:
    left_out, shards = [], []
    for first in range(0, len(names), recipe.images_per_shard):
        indices = range(first, min(first + recipe.images_per_shard, len(names)))
        path = folder / f"shard-{first // recipe.images_per_shard:06d}.tar"
        shards.append(path.name)
        if path.exists():
            present = {name for name, _, _ in members_of(path)}
            missing = [i for i in indices if names[i] not in present]
            left_out += [result for _, result in tasks.run(missing) if isinstance(result, str)]
            progress(len(indices))
            continue
        with ShardWriter(path) as writer:
            for i, result in tasks.run(indices):
                left_out.append(result) if isinstance(result, str) else writer.add(names[i], result)
                progress(1)
    table = ShardTable.of(folder, shards)
    if len(table):
        table.save()
    return left_out


def _write_folder(
    folder: Path, names: list[str], recipe: Recipe, tasks: "_Tasks", progress: Callable[[int], Any]
) -> list[str]:
    left_out = []
    todo = [i for i, name in enumerate(names) if not (folder / name).exists()]
    progress(len(names) - len(todo))
    for i, result in tasks.run(todo):
        if isinstance(result, str):
            left_out.append(result)
        else:
            write_file(folder / names[i], result, durable=False)
        progress(1)
    return left_out


@dataclass
class _Tasks:
    files: FileIndex
    recipe: Recipe
    pool: ProcessPoolExecutor
    ahead: int
    max_pixels: int

    def run(self, indices: Iterable[int]) -> Iterator[tuple[int, bytes | str]]:
        """Yield each index with its encoded image, or with the line that says why there is none, in order."""
        indices, waiting = list(indices), deque()
        for start in range(0, len(indices), _CHUNK):
            chunk = indices[start : start + _CHUNK]
            paths = [self.files.path(i) for i in chunk]
            waiting.append((chunk, self.pool.submit(_encode_files, paths, self.recipe, self.max_pixels)))
            if len(waiting) > self.ahead:
                yield from self._result(*waiting.popleft())
        while waiting:
            yield from self._result(*waiting.popleft())

    @staticmethod
    def _result(chunk: list[int], future: Any) -> Iterator[tuple[int, bytes | str]]:
        try:
            yield from zip(chunk, future.result(), strict=True)
        except BrokenProcessPool as error:
            raise UsageError(
                "A worker process was killed, perhaps for its memory: run the same command again with fewer --workers; "
                "it goes on where it stopped."
            ) from error


def _encode_files(paths: list[str], recipe: Recipe, max_pixels: int) -> list[bytes | str]:
    results: list[bytes | str] = []
    for path in paths:
        try:
            results.append(encode(read_bytes(path, most_bytes(max_pixels)), recipe, path, max_pixels))
        except UnreadableImage as error:
            results.append(str(error))
    return results


def _pool(workers: int) -> ProcessPoolExecutor:
    if workers < 1:
        raise UsageError(f"workers is {workers}: give the number of processes, at least 1.")
    return ProcessPoolExecutor(workers, initializer=_begin_worker)


def _begin_worker() -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the workers
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    # A parent that is killed cannot end its workers, and they would wait for tasks forever.
    connection.wait([parent_process().sentinel])
    os._exit(1)
