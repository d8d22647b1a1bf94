"""Which source reads what lies at a place: a folder of images or what else people pass as their data."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maetool.data.codecs.endings import IMAGE_EXTENSIONS
from maetool.errors import UsageError
from maetool.registry import SOURCES

from .base import Source
from .file_index import is_folder
from .packed.members import ARCHIVE_ENDINGS
from .packed.shards import TABLE, is_shard_folder
from .packed.webdataset import is_webdataset
from .part import parts_in
from .part_names import CONTENT, parts_are_first
from .remote_system import RemoteSystem
from .tables.columns import holds_images, is_table
from .tabular import splits_of
from .urls import is_url

_SAVED = ("state.json", "dataset_dict.json")  # by `save_to_disk` of Hugging Face's datasets
_ONE_PLACE = ("ArchiveSource", "WebDatasetSource", "LmdbSource", "ShardSource", "RemoteSource")  # of all parts


def source_for(root: str | Path) -> dict[str, Any]:
    """Return the config of the source that reads what lies at `root`.

    A folder of images stays one where an archive lies beside them. Archives alone are read in place: as shards of
    WebDataset, where files beside the images have their names, else as the folders that were packed.

    Args:
        root: folder, file or URL.

    Raises:
        UsageError: an archive or a Parquet file that cannot be read.
    """
    if is_url(root):
        return _at_url(str(root))
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
    if _has_only(root, ARCHIVE_ENDINGS):
        return _of_archives(root)
    if _has_only(root, (".parquet",)) and any(map(holds_images, root.glob("*.parquet"))):
        return {"type": "HuggingFaceSource", "name": str(root)}
    return {"type": "FolderSource", "root": str(root)}


def open_source(root: str | Path, labelled: bool = True) -> Source:
    """Return the source of what lies at a place, see `source_for`.

    Args:
        root: folder, file or URL.
        labelled: False asks a table for its paths alone, whatever else it holds.

    Raises:
        UsageError: what the source raises.
    """
    source = source_for(root)
    return SOURCES.build({**source, "labelled": False} if source["type"] == "TableSource" and not labelled else source)


def parts_at(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the source of each part by its name, "train", "val" or "test"; empty where a source has no parts.

    Args:
        config: what `source_for` gave.

    Raises:
        UsageError: it cannot be read.
    """
    if config["type"] == "HuggingFaceSource":
        return {part: {**config, "split": split} for part, split in splits_of(config["name"]).items()}
    if config["type"] not in _ONE_PLACE:
        return {}
    parts = sorted(parts_in(SOURCES.build(config)))
    return {part: {"type": "PartSource", "source": dict(config), "split": part} for part in parts}


def has_classes(root: str | Path) -> bool:
    """Return whether what lies at `root` knows labels.

    Raises:
        UsageError: it cannot be read.
    """
    config = source_for(root)
    if config["type"] == "FolderSource":
        folders = [path for path in Path(root).iterdir() if path.is_dir()] if Path(root).is_dir() else []
        if parts_are_first([f"{folder.name}/" for folder in folders]):
            folders = [path for folder in folders for path in folder.iterdir() if path.is_dir()]
            return any(path.name.lower() not in CONTENT for path in folders)
        return bool(folders)
    return knows_labels(config)


def knows_labels(config: Mapping[str, Any]) -> bool:
    """Return whether the source of a `config` knows labels.

    Raises:
        UsageError: it cannot be read.
    """
    source = SOURCES.build(config)
    try:
        return bool(source.labels().classes)
    except UsageError:
        return False


def is_absent(place: str | Path) -> bool:
    """Return whether nothing is at a place; a URL or a pattern of files is taken to be there."""
    text = os.path.expanduser(place)
    return not (is_url(text) or any(sign in text for sign in "*?[{") or os.path.exists(text))


def _table(root: Path) -> dict[str, Any]:
    return {"type": "TableSource", "csv_file": str(root)}


def _at_url(url: str) -> dict[str, Any]:
    if is_table(url):
        raise UsageError(
            f"{url} is a table, which is not read from another machine: download it, and give its root there."
        )
    names = [file.name.lower() for file in RemoteSystem(url).files()]
    if TABLE in names:
        return {"type": "ShardSource", "root": url}
    packed = any(name.endswith(ARCHIVE_ENDINGS) and "/" not in name for name in names)
    if packed and not any(name.endswith(IMAGE_EXTENSIONS) for name in names):
        return _of_archives(url)
    return {"type": "RemoteSource", "root": url}


def _of_archives(root: Path | str) -> dict[str, Any]:
    kind = "WebDatasetSource" if is_webdataset(root) else "ArchiveSource"
    return {"type": kind, "root": str(root)}


def _has_only(root: Path, endings: tuple[str, ...]) -> bool:
    """Return whether a folder has files of these endings, and neither folders nor images."""
    there = False
    with os.scandir(root) as entries:
        for entry in entries:
            name = entry.name.lower()
            if not name.startswith(".") and (is_folder(entry) or name.endswith(IMAGE_EXTENSIONS)):
                return False
            there |= name.endswith(endings)
    return there
