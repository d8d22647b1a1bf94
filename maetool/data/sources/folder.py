"""Image files below a folder, or those that a text list names."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from maetool.annotations import FromZero
from maetool.errors import UsageError, printable
from maetool.registry import SOURCES

from .base import Labels, labels_from_folders
from .file_index import FileIndex, index_files, is_folder
from .folds import folds_are_first, folds_in_paths, in_fold
from .packed.names import Names
from .part_names import check_part, part_of, parts_among, parts_are_first


@SOURCES.register_module()
class FolderSource(FileIndex):
    """The image files below a folder, or those that a text list names; see `index_files`.

    Args:
        root: folder of images at any depth, or text list with one path a line.
        index_cache: folder of the cached file list; by default in the user's cache folder.
        split: use only the files in folders of this part, "train", "val" or "test" by any usual name, such as
            `CLASS/train/IMAGE`; None, all.
        fold: number of the fold that is held out, where folders such as `fold_0` hold one each; None, a fifth is.

    Raises:
        UsageError: no images, or none in the part or fold.
    """

    files_in: ClassVar[str | None] = "root"
    _is_list: bool
    _fold: int | None
    _split: str | None

    def __init__(
        self,
        root: str | Path,
        *,
        index_cache: str | Path | None = None,
        split: str | None = None,
        fold: FromZero | None = None,
    ) -> None:
        index = index_files(root, index_cache)
        super().__init__(index.root, index.names if split is None else names_in_part(index, split))
        object.__setattr__(self, "_is_list", not os.path.isdir(os.path.expanduser(root)))
        object.__setattr__(self, "_fold", fold)
        object.__setattr__(self, "_split", split)

    def labels(self) -> Labels:
        """Return the class of each image, the first folder below the root or below those of folds or parts, sorted.

        Raises:
            UsageError: images outside of class folders, one class only, or a class folder without images.
        """
        names = [self.relative(index) for index in range(len(self))]
        if folds_are_first(names) or parts_are_first(names, self._split):
            return labels_from_folders(self, above=1)
        labels = labels_from_folders(self)
        if not self._is_list:
            refuse_empty_classes(self.root, labels.classes)
        return labels

    def held_out(self) -> Tensor | None:
        """Return which images are of the fold that is held out, bool (N,), or None without `fold`."""
        if self._fold is None:
            return None
        return in_fold(self._fold, folds_in_paths(map(self.relative, range(len(self)))), self.root)


def names_in_part(index: FileIndex, split: str) -> Names:
    """Return the names of the files of `index` that lie in a folder of the part `split`, such as "train".

    Raises:
        UsageError: no such part, or none of the files lies in it.
    """
    check_part(split)
    names = [index.names[i] for i in range(len(index))]
    first = parts_among({name.partition("/")[0] for name in names if "/" in name})
    chosen = [name for name in names if split in {first.get(name.partition("/")[0]), *_parts_in(name)}]
    if not chosen:
        raise UsageError(
            f"{index.root} has no image in a folder of the part {split}: rename the folder, or set split=None."
        )
    return Names.of([os.fsencode(name) for name in chosen])


def _parts_in(name: str) -> set[str | None]:
    return {part_of(folder) for folder in name.split("/")[:-1]}


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
