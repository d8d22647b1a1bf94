"""Which source reads what lies at a place: a folder of images or what else people pass as their data."""

import os
from pathlib import Path
from typing import Any

from maetool.errors import UsageError
from maetool.registry import SOURCES

from .base import Source
from .file_index import is_folder
from .packed.members import ARCHIVE_ENDINGS
from .packed.shards import is_shard_folder
from .packed.webdataset import is_webdataset
from .table_columns import holds_images, is_table

_SAVED = ("state.json", "dataset_dict.json")  # by `save_to_disk` of Hugging Face's datasets


def source_for(root: str | Path) -> dict[str, Any]:
    """Return the config of the source that reads what lies at `root`.

    A folder of images stays one where an archive lies beside them. Archives alone are read in place: as shards of
    WebDataset, where files beside the images have their names, else as the folders that were packed.

    Raises:
        UsageError: an archive or a Parquet file that cannot be read.
    """
    root = Path(root).expanduser()
    if is_table(root):
        images = root.is_file() and holds_images(root)
        return {"type": "HuggingFaceSource", "name": str(root)} if images else _table(root)
    if root.is_file() and root.name.lower().endswith(ARCHIVE_ENDINGS):
        return _of_archives(root)
    if not root.is_dir():
        return {"type": "FolderSource", "root": str(root)}
    if is_shard_folder(root):
        return {"type": "ShardSource", "root": str(root)}
    if any((root / name).is_file() for name in _SAVED):
        return {"type": "HuggingFaceSource", "name": str(root)}
    if (root / "data.mdb").is_file():
        return {"type": "LmdbSource", "root": str(root)}
    return _of_archives(root) if _has_only_archives(root) else {"type": "FolderSource", "root": str(root)}


def open_source(root: str | Path) -> Source:
    """Return the source of what lies at `root`, see `source_for`.

    Raises:
        UsageError: what the source raises.
    """
    return SOURCES.build(source_for(root))


def has_classes(root: str | Path) -> bool:
    """Return whether what lies at `root` knows labels.

    Raises:
        UsageError: it cannot be read.
    """
    config = source_for(root)
    if config["type"] == "FolderSource":
        return Path(root).is_dir() and any(path.is_dir() for path in Path(root).iterdir())
    source = SOURCES.build(config)
    try:
        return bool(source.labels().classes)
    except UsageError:
        return False


def _table(root: Path) -> dict[str, Any]:
    return {"type": "TableSource", "csv_file": str(root)}


def _of_archives(root: Path) -> dict[str, Any]:
    kind = "WebDatasetSource" if is_webdataset(root) else "ArchiveSource"
    return {"type": kind, "root": str(root)}


def _has_only_archives(root: Path) -> bool:
    """Return whether a folder has archives, and neither folders nor images."""
    from maetool.data.codecs.endings import IMAGE_EXTENSIONS

    archives = False
    with os.scandir(root) as entries:
        for entry in entries:
            name = entry.name.lower()
            if not name.startswith(".") and (is_folder(entry) or name.endswith(IMAGE_EXTENSIONS)):
                return False
            archives |= name.endswith(ARCHIVE_ENDINGS)
    return archives
