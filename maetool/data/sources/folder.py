"""Image files below a folder, or those that a text list names."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from maetool.errors import UsageError, printable
from maetool.registry import SOURCES

from .base import Labels
from .file_index import FileIndex, index_files, is_folder


@SOURCES.register_module()
class FolderSource(FileIndex):
    """The image files below a folder, or those that a text list names; see `index_files`.

    Args:
        root: folder of images at any depth, or text list with one path a line.
        index_cache: folder of the cached file list; by default in the user's cache folder.

    Raises:
        UsageError: no images.
    """

    files_in: ClassVar[str | None] = "root"
    _is_list: bool

    def __init__(self, root: str | Path, *, index_cache: str | Path | None = None) -> None:
        index = index_files(root, index_cache)
        super().__init__(index.root, index.names)
        object.__setattr__(self, "_is_list", not os.path.isdir(os.path.expanduser(root)))

    def labels(self) -> Labels:
        """Return the class of each image, the first folder below the root in sorted order.

        Raises:
            UsageError: images outside of class folders, one class only, or a class folder without images.
        """
        labels = super().labels()
        if not self._is_list:
            refuse_empty_classes(self.root, labels.classes)
        return labels


def refuse_empty_classes(root: str, classes: Sequence[str]) -> None:
    """Check that every folder directly below `root`, hidden ones aside, is one of `classes`.

    Raises:
        UsageError: one holds no image.
    """
    with os.scandir(root) as entries:
        empty = sorted(
            {printable(entry.name) for entry in entries if is_folder(entry) and entry.name[0] != "."} - set(classes)
        )
    empty = [name for name in empty if name != "lost+found"]
    if empty:
        raise UsageError(
            f"{len(empty)} of the class folders in {root} hold(s) no image (first `{empty[0]}`): put images there, or "
            "move the folder away."
        )
