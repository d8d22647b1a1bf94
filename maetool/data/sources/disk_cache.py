"""Images of other machines that are kept on the disk, in no more than a number of bytes."""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Set
from pathlib import Path

import numpy as np

from maetool.errors import UsageError
from maetool.reading import read_file
from maetool.writing import write_file

_logger = logging.getLogger("maetool")


class DiskCache:
    """Keeps some of N images, always the same ones, so that processes share a limit without asking each other.

    An epoch reads every image once, in another order each time. Then nothing saves more downloads than keeping what is
    there; making room for the newest would drop most images before they are read again.

    Args:
        folder: where; None, `maetool/remote` in the user's cache folder. Each `root` has a folder of its own in it.
        root: where the images come from.
        names: what each image is kept by, N strings; another one for another content.
        sizes: bytes of each image, int64 (N,); -1 where unknown.
        limit: most bytes of all that are kept; None, all are.

    Raises:
        UsageError: a limit that is negative, or that cannot be kept because sizes are unknown.
    """

    def __init__(
        self, folder: str | Path | None, root: str, names: Iterable[str], sizes: np.ndarray, limit: int | None = None
    ) -> None:
        user_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
        self.folder = Path(folder or Path(user_cache, "maetool", "remote")).expanduser() / digest
        self._sizes, self._kept = sizes, kept_of(sizes, limit, root)
        self._writes = True
        if limit is not None:
            self._remove_others({self._path(name) for name, kept in zip(names, self._kept, strict=True) if kept})
        self._warn_of_space(root)

    def get(self, index: int, name: str, load: Callable[[], bytes]) -> bytes:
        """Return the content of image `index`, from the disk where it is there.

        Args:
            index: of the image.
            name: what it is kept by; another one for another content.
            load: returns the content.

        Raises:
            UnreadableImage: from `load`.
        """
        if not self._kept[index]:
            return load()
        path, size = self._path(name), int(self._sizes[index])
        try:
            data = read_file(path)
            if data and (size < 0 or len(data) == size):  # not what a crash left
                return data
        except OSError:
            pass  # not there yet
        data = load()
        if self._writes and (size < 0 or len(data) == size):
            self._write(path, data)
        return data

    def _write(self, path: Path, data: bytes) -> None:
        try:
            write_file(path, data, durable=False)
        except (OSError, UsageError) as error:
            self._writes = False
            _logger.warning("Downloaded images are no longer kept: %s", error)

    def _path(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
        return self.folder / digest[:2] / digest[2:]

    def _remove_others(self, kept: Set[Path]) -> None:
        """Remove what an earlier limit or other contents left, so that the limit holds for all files together."""
        for path in self.folder.rglob("*"):
            if path not in kept and path.is_file():
                path.unlink(missing_ok=True)

    def _warn_of_space(self, root: str) -> None:
        total, there = int(self._sizes[self._kept & (self._sizes > 0)].sum()), bytes_below(self.folder)
        free = free_bytes(self.folder)
        if total - there > free:
            _logger.warning(
                "The images of %s have %s bytes, which are kept in %s, where %s are free: set cache_bytes to keep some "
                "of them only.",
                *(root, f"{total:,}", self.folder, f"{free:,}"),
            )


def kept_of(sizes: np.ndarray, limit: int | None, root: str = "the source") -> np.ndarray:
    """Return which images are kept, bool (N,): as many as fit into the limit, drawn at random but always the same.

    Args:
        sizes: bytes of each image, int64 (N,).
        limit: bytes in all; None keeps every image.
        root: what the message calls the source.

    Raises:
        UsageError: see `DiskCache`.
    """
    if limit is None:
        return np.ones(len(sizes), bool)
    if limit < 0:
        raise UsageError(f"cache_bytes is {limit}: give a number of bytes, 0 to keep nothing, or None to keep all.")
    if limit and (sizes < 0).any():
        raise UsageError(
            f"cache_bytes is {limit:,}, but {root} does not tell the sizes of its files, so that no limit can be kept: "
            "set it to 0 or None, or pack the images."
        )
    order = np.random.default_rng(0).permutation(len(sizes))
    kept = np.zeros(len(sizes), bool)
    kept[order] = sizes[order].cumsum() <= limit
    return kept


def bytes_below(folder: Path) -> int:
    """Return how many bytes the files below `folder` have."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(place, name))
            except OSError:
                continue  # another process has just removed it
    return total


def free_bytes(folder: Path) -> int:
    """Return how many bytes are free where a folder is, or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
