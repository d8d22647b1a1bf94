"""The images in a folder of tar shards."""

from pathlib import Path
from typing import ClassVar

from maetool.registry import SOURCES

from .shards import ShardFiles, ShardTable


@SOURCES.register_module()
class ShardSource(ShardFiles):
    """The images in a folder of shards that `maetool prepare_dataset` wrote, read by offset.

    Their classes are the first folders of their names.

    Args:
        root: the folder.

    Raises:
        UsageError: shards that are missing, damaged or not complete.
    """

    files_in: ClassVar[str | None] = "root"

    def __init__(self, root: str | Path) -> None:
        super().__init__(ShardTable.load(root))
