"""Plain tar files and a table of where each image lies in them, so that images are read at random without unpacking."""

import os
import tarfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maetool._deprecated import moved
from maetool.data.codecs.image_size import RAISE_LIMIT
from maetool.data.codecs.images import UnreadableImage
from maetool.errors import OutputError, UsageError
from maetool.reading import MOST_BYTES, arrays_in, read_file
from maetool.writing import as_output_error, open_new, remove_file, write_file

from ..base import Source
from .names import Names
from .open_files import OpenFiles, ReadsAtPlaces
from .tar_header import BLOCK, header_of, is_damaged, is_of

TABLE = "index.npz"
SETTINGS = "prepared.json"
_FORMAT = "maetool shards 1"
_HOW_TO_MEND = "run `maetool prepare_dataset` again with the same arguments; it goes on where it stopped"


class ShardWriter:
    """Writes one tar file, complete or not at all.

    The file appears under its name when `close` is called; until then it is `<name>.part`. As a context it is closed at
    the end, or after an exception removed.

    Args:
        path: where.

    Raises:
        OutputError: here, in `add` and in `close`, where the disk is full or the place cannot be written; in `close`
            also where another process writes the same file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._part = path, path.with_name(f"{path.name}.part")
        with as_output_error(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open_new(self._part)
            self._inode = os.fstat(self._file.fileno()).st_ino

    def _is_own(self) -> bool:
        """Return whether the unfinished file is still this writer's, and not that of another process."""
        with suppress(OSError):
            return os.stat(self._part).st_ino == self._inode
        return False

    def __enter__(self) -> "ShardWriter":
        """Begin a context."""
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        """Finish the file, or remove what there is of it."""
        try:
            if kind is None:
                self.close()
        finally:
            with suppress(OSError):  # it writes what it still holds
                self._file.close()
            if self._is_own():
                remove_file(self._part)

    def add(self, name: str, data: bytes) -> None:
        """Append the file `name` with the content `data`, and a checksum in its header."""
        with as_output_error(self.path):
            self._file.write(header_of(name, data))
            self._file.write(data + b"\0" * (-len(data) % BLOCK))

    def close(self) -> None:
        """Finish the file and give it its name."""
        with as_output_error(self.path):
            self._file.write(b"\0" * 2 * BLOCK)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if not self._is_own():
                raise OutputError(f"{self.path} is written by another process, too: let only one of the two run.")
            os.replace(self._part, self.path)


@dataclass(frozen=True)
class ShardTable:
    """Where each image of a folder of shards lies.

    Attributes:
        root: the folder.
        shards: names of the tar files.
        lengths: their sizes in bytes, int64 (S,).
        shard: which one holds each image, int32 (N,).
        offset: where in it the image's bytes begin, int64 (N,).
        size: how many they are, int64 (N,).
        names: the images' relative paths.
    """

    root: str
    shards: tuple[str, ...]
    lengths: np.ndarray
    shard: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    names: Names

    @classmethod
    def of(cls, root: str | Path, shards: Iterable[str]) -> "ShardTable":
        """Make the table of `shards`, tar files in the folder `root`, by reading their headers."""
        shards, places, names = tuple(shards), [], []
        for number, shard in enumerate(shards):
            for name, offset, size in members_of(Path(root, shard)):
                places.append((number, offset, size))
                names.append(os.fsencode(name))
        columns = np.array(places, np.int64).reshape(-1, 3)
        lengths = np.array([os.path.getsize(Path(root, shard)) for shard in shards], np.int64)
        return cls(
            str(root), shards, lengths, columns[:, 0].astype(np.int32), columns[:, 1], columns[:, 2], Names.of(names)
        )

    def save(self) -> None:
        """Write the table beside the shards, complete or not at all."""
        facts = {name: getattr(self, name) for name in ("lengths", "shard", "offset", "size")}
        shards, blob, offsets = np.array(self.shards), self.names.blob, self.names.offsets
        arrays = {"format": np.array(_FORMAT), "shards": shards, "name_blob": blob, "name_offsets": offsets, **facts}
        write_file(Path(self.root, TABLE), lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, root: str | Path) -> "ShardTable":
        """Read the table of `root`, a folder of shards, and compare it with the files.

        Raises:
            UsageError: no such folder, no table or a damaged one, or shards that are missing or of another size.
        """
        root = os.path.abspath(os.path.expanduser(root))
        path = os.path.join(root, TABLE)
        if not os.path.isdir(root):
            raise UsageError(
                f"There is no folder of shards at {root}: pass the folder that `maetool prepare_dataset` wrote."
            )
        if not os.path.exists(path):
            raise UsageError(f"{root} has no {TABLE}, so its shards are not complete: {_HOW_TO_MEND}.")
        return cls.read(root, lambda: read_file(path), lambda name: _size_of(os.path.join(root, name)))

    @classmethod
    def read(cls, root: str, table: Callable[[], bytes], size_of: Callable[[str], int | None]) -> "ShardTable":
        """Read a table and compare it with the shards.

        Args:
            root: folder or URL of the shards.
            table: returns the content of the file `TABLE`.
            size_of: returns the bytes of a shard, None where it is missing.

        Raises:
            UsageError: the table is damaged, or shards are missing or of another size.
        """
        try:
            made = cls._from_arrays(root, arrays_in(table()))
        except (OSError, ValueError, KeyError) as error:
            place = os.path.join(root, TABLE)
            raise UsageError(f"{place} is damaged ({error}): delete it, and {_HOW_TO_MEND}.") from error
        made._compare_with_files(size_of)
        return made

    @classmethod
    def _from_arrays(cls, root: str, arrays: dict[str, Any]) -> "ShardTable":
        if str(arrays["format"]) != _FORMAT:
            raise ValueError("of another format")
        names, shards = Names.checked(arrays["name_blob"], arrays["name_offsets"]), arrays["shards"]
        columns = {name: arrays[name] for name in cls._COLUMNS}
        if shards.ndim != 1 or shards.dtype.kind != "U" or not len(names):
            raise ValueError("it lists no shards or no images")
        shapes = {"lengths": shards.shape}
        for name, column in columns.items():
            if column.dtype.kind != "i" or column.shape != shapes.get(name, (len(names),)):
                raise ValueError(f"its column {name} is of another length or type")
        table = cls(root, tuple(shards.tolist()), names=names, **columns)
        if any(not name or os.path.basename(name) != name for name in table.shards):
            raise ValueError("a shard is not in its folder")
        if not table._points_inside():
            raise ValueError("it points outside of the shards")
        return table

    def _points_inside(self) -> bool:
        if self.shard.min() < 0 or self.shard.max() >= len(self.shards):
            return False
        ends = self.lengths[self.shard] - self.size  # no sum, which could overflow
        return bool(self.offset.min() >= BLOCK and self.size.min() > 0 and (self.offset <= ends).all())

    _COLUMNS = ("lengths", "shard", "offset", "size")

    def _compare_with_files(self, size_of: Callable[[str], int | None]) -> None:
        for name, expected in zip(self.shards, self.lengths.tolist(), strict=True):
            path, actual = os.path.join(self.root, name), size_of(name)
            if actual != expected:
                what = "is missing" if actual is None else f"has {actual:,} bytes"
                raise UsageError(
                    f"{path} {what}, but {TABLE} says {expected:,} bytes: copy the folder again, or delete that shard, "
                    f"and {_HOW_TO_MEND}."
                )

    def __len__(self) -> int:
        return len(self.shard)


def members_of(path: Path) -> list[tuple[str, int, int]]:
    """Return name, offset and size of each file in the tar file `path`.

    Raises:
        UsageError: the file is no tar file, or damaged.
    """
    try:
        if not path.is_file():  # a named pipe would be waited for
            raise OSError("it is not a regular file")
        with tarfile.open(path, "r:") as tar:
            members = [(member.name, member.offset_data, member.size) for member in tar if member.isfile()]
    except (tarfile.TarError, OSError, EOFError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as a tar file ({error}): delete it, and {_HOW_TO_MEND}.") from error
    return members


class ShardFiles(Source):
    """The images of a folder of shards, read by offset.

    Any number of processes may read at once, forked or not: each read names its place.

    Args:
        table: where they lie.
        files: reads the shards; None, from the disk.
    """

    def __init__(self, table: ShardTable, files: ReadsAtPlaces | None = None) -> None:
        self.table = table
        self.root = table.root
        self._files = files or OpenFiles([os.path.join(table.root, shard) for shard in table.shards])

    def __len__(self) -> int:
        return len(self.table)

    def relative(self, index: int) -> str:
        """Return the path of image `index` as it was in the folder that was prepared."""
        return self.table.names[index]

    def path(self, index: int) -> str:
        """Return shard and name of image `index`, for messages."""
        shard = self.table.shards[self.table.shard[index]]
        return f"{os.path.join(self.root, shard)}:{self.relative(index)}"

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return the shard and name of image `index` and its bytes.

        Raises:
            UnreadableImage: the shard cannot be read, holds something else at that place than the table says, the
                image's checksum does not match, or the image has more than `most` bytes.
        """
        table, path = self.table, self.path(index)
        size = int(table.size[index])
        if size > most:
            raise UnreadableImage(path, f"it has {size:,} bytes, more than the {most:,} that are read: {RAISE_LIMIT}")
        try:
            data = self._files.read(int(table.shard[index]), BLOCK + size, int(table.offset[index]) - BLOCK)
        except UnreadableImage as error:
            raise UnreadableImage(path, error.reason) from error
        except OSError as error:
            raise UnreadableImage(path, (error.strerror or str(error)).lower()) from error
        # The image's own header lies just before it, so a table of other shards is noticed at no cost.
        header, image = data[:BLOCK], data[BLOCK:]
        if len(image) != size or not is_of(header, table.names[index], size):
            raise UnreadableImage(path, f"{TABLE} does not fit this shard: {_HOW_TO_MEND}")
        if is_damaged(header, image):
            raise UnreadableImage(path, f"damaged, its checksum does not match: delete the shard, and {_HOW_TO_MEND}")
        return path, image


def _size_of(path: str) -> int | None:
    return os.path.getsize(path) if os.path.isfile(path) else None


def is_shard_folder(folder: str | Path) -> bool:
    """Return whether a folder holds shards that `maetool prepare_dataset` wrote, complete or not."""
    folder = Path(folder)
    return (folder / TABLE).is_file() or ((folder / SETTINGS).is_file() and any(folder.glob("*.tar")))


__getattr__ = moved(__name__, {"has_classes": "maetool.data.sources.kinds.has_classes"}, "0.3.0")
