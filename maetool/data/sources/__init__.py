"""Where bytes come from, by index: folders, lists and tables of files, archives, databases and other machines."""

from maetool._lazy import lazily

_PLACES = {
    "archive": ("ArchiveSource",),
    "base": ("Labels", "Source"),
    "folder": ("FolderSource",),
    "frames": ("FrameSource",),
    "lmdb_source": ("LmdbSource",),
    "mixture": ("MixtureSource",),
    "paired": ("PairedSource",),
    "remote": ("RemoteSource",),
    "shard_source": ("ShardSource",),
    "table": ("TableSource",),
    "tabular": ("HuggingFaceSource", "TorchvisionSource"),
    "webdataset": ("WebDatasetSource",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
