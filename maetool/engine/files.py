"""The old place of what is in `maetool.writing`; maetool 0.3.0 removes it."""

from maetool._deprecated import moved

__getattr__ = moved(
    __name__,
    {
        "TEMPORARY": "maetool.writing.TEMPORARY",
        "replace_file": "maetool.writing.replace_file",
        "sync_folder": "maetool.writing.sync_folder",
        "remove_file": "maetool.writing.remove_file",
        "remove_leftovers": "maetool.writing.remove_leftovers",
    },
    "0.3.0",
)
