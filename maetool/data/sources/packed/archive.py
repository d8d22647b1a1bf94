"""The images in zip and tar archives, read in place."""

import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from maetool.data.codecs.endings import IMAGE_EXTENSIONS
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES

from ..base import Source
from .members import ARCHIVE_ENDINGS, Member, members_in, read_member
from .names import Names
from .open_files import OpenFiles


@SOURCES.register_module()
class ArchiveSource(Source):
    """The images in a zip or tar archive, or in all of a folder, read in place.

    An archive counts as the folder that was packed: class folders in it are classes, below folders that all images
    share. Of several archives each is a folder of its name, as those of ImageNet's classes, unless they are numbered
    one after the other. A tar file must not be compressed, because it could then only be read from its beginning.

    Args:
        root: the archive, or a folder of archives.

    Raises:
        UsageError: no archive, a damaged one, one that must be unpacked, or no image in it.
    """

    files_in: ClassVar[str | None] = "root"

    def __init__(self, root: str | Path) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self.archives = archives_at(self.root)
        members = [[m for m in members_in(path) if _is_image(m.name)] for path in self.archives]
        if not any(members):
            raise UsageError(
                f"No image in {self.root}: expected archives of files that end in {', '.join(IMAGE_EXTENSIONS)}."
            )
        self._hold(members, _folders_of(self.archives, members))

    def _hold(self, members: Sequence[Sequence[Member]], names: Sequence[Sequence[str]]) -> None:
        """Keep members of each archive and their names in flat arrays, which processes share."""
        self._names = Names.of([os.fsencode(name) for each in names for name in each])
        columns = [(number, *member[1:]) for number, each in enumerate(members) for member in each]
        self._columns = np.array(columns, np.int64).reshape(-1, 6)
        self._files = OpenFiles(self.archives)

    def __len__(self) -> int:
        return len(self._names)

    def relative(self, index: int) -> str:
        """Return the path of image `index` in its archive."""
        return self._names[index]

    def path(self, index: int) -> str:
        """Return archive and name of image `index`, for messages."""
        return f"{self.archives[self._columns[index, 0]]}:{self.relative(index)}"

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return archive and name of image `index`, and its bytes.

        Raises:
            UnreadableImage: it is damaged, the archive changed, or it has more than `most` bytes.
        """
        number, *facts = self._columns[index].tolist()
        path = self.path(index)
        return path, read_member(self._files, number, Member(self.relative(index), *facts), path, most)


def archives_at(root: str) -> list[str]:
    """Return the archive at `root`, or those directly in the folder, sorted.

    Raises:
        UsageError: there is none, or one of another kind.
    """
    if os.path.isdir(root):
        found = sorted(entry.path for entry in os.scandir(root) if entry.name.lower().endswith(ARCHIVE_ENDINGS))
    else:
        found = [root] if root.lower().endswith(ARCHIVE_ENDINGS) else []
    if not found or not all(map(os.path.exists, found)):
        packed = root.lower().endswith((".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"))
        cure = "unpack it, or pack it again as zip or as tar without compression" if packed else "check the path"
        raise UsageError(
            f"There is no archive at {root}: expected a file that ends in {', '.join(ARCHIVE_ENDINGS)}, or a folder "
            f"of such; {cure}."
        )
    return found


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_EXTENSIONS)


def _folders_of(archives: Sequence[str], members: Sequence[Sequence[Member]]) -> list[list[str]]:
    """Return the name of each member in the folder that its archive stands for."""
    stems = [os.path.splitext(os.path.basename(path))[0] for path in archives]
    own = len(archives) > 1 and not are_numbered(stems)
    names = []
    for stem, each in zip(stems, members, strict=True):
        plain = [member.name for member in each]
        plain = _without_shared(plain) if own or len(archives) == 1 else plain
        names.append([f"{stem}/{name}" for name in plain] if own else plain)
    if len({name for each in names for name in each}) < sum(map(len, names)):
        return [[f"{stem}/{name}" for name in each] for stem, each in zip(stems, names, strict=True)]
    return names


def _without_shared(names: list[str]) -> list[str]:
    """Return names without the folders that all of them lie in."""
    shared = posixpath.commonpath(["/" + posixpath.dirname(name) for name in names]) if names else "/"
    return [name[len(shared.lstrip("/")) :].lstrip("/") for name in names]


def are_numbered(stems: Sequence[str]) -> bool:
    """Return whether `stems` are one word with consecutive numbers, as the names of shards are."""
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", stem) for stem in stems]
    if not all(parts):
        return False
    numbers = sorted(int(part[2]) for part in parts if part)
    words = {(part[1], part[3]) for part in parts if part}
    return len(words) == 1 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
