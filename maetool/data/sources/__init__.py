"""Where bytes come from, by index: folders, lists and tables of files, archives, databases and other machines."""

from maetool._lazy import lazily

_PLACES = {
    "packed.archive": ("ArchiveSource",),
    "base": ("Labels", "Source"),
    "folder": ("FolderSource",),
    "frames": ("FrameSource",),
    "packed.lmdb_source": ("LmdbSource",),
    "mixture": ("MixtureSource",),
    "paired": ("PairedSource",),
    "part": ("PartSource",),
    "remote": ("RemoteSource",),
    "packed.shard_source": ("ShardSource",),
    "tables.table": ("TableSource",),
    "tabular": ("HuggingFaceSource", "TorchvisionSource"),
    "packed.webdataset": ("WebDatasetSource",),
    "windows": ("WindowSource",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
