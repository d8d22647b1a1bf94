"""Where bytes come from, by index: folders, lists and tables of files, tar shards."""

from maetool._lazy import lazily

_PLACES = {
    "base": ("Labels", "Source"),
    "folder": ("FolderSource",),
    "shard_source": ("ShardSource",),
    "table": ("TableSource",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
