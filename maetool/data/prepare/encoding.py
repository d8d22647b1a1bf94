"""Photographs encoded anew with a bounded short side, by several processes."""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from typing import Any

import cv2
import torch

from maetool.data.codecs.image_size import MAX_PIXELS, most_bytes
from maetool.data.codecs.images import UnreadableImage, decode_image, read_bytes
from maetool.data.codecs.jpeg import read_header
from maetool.data.codecs.options import ReadOptions
from maetool.data.codecs.orientation import UPRIGHT, orientation_of
from maetool.data.codecs.resize import resize
from maetool.data.sources.file_index import FileIndex
from maetool.errors import UsageError

_CHUNK = 16  # images of a task; small, so that the bar moves
AHEAD = 8  # tasks a worker may be ahead of the writing


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


@dataclass
class Tasks:
    """Images to encode.

    Attributes:
        files: all images.
        recipe: what to make of each.
        pool: processes that encode.
        ahead: most tasks that wait to be written.
        max_pixels: see `encode`.
    """

    files: FileIndex
    recipe: Recipe
    pool: ProcessPoolExecutor
    ahead: int
    max_pixels: int

    def run(self, indices: Iterable[int]) -> Iterator[tuple[int, bytes | str]]:
        """Yield each of `indices` with its encoded image, or with the line that says why there is none, in order."""
        waiting: deque[tuple[list[int], Any]] = deque()
        indices = list(indices)
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


def open_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of `workers` processes that encode.

    Raises:
        UsageError: fewer than one.
    """
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
    if (parent := parent_process()) is not None:
        connection.wait([parent.sentinel])
    os._exit(1)
