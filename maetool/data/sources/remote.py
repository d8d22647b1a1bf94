"""Images on other machines, by fsspec, with a cache on the disk."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from maetool.data.codecs.endings import IMAGE_EXTENSIONS
from maetool.data.codecs.images import UnreadableImage, read_bytes
from maetool.errors import UsageError
from maetool.reading import MOST_BYTES
from maetool.registry import SOURCES
from maetool.writing import write_file

from .base import Source
from .extras import need
from .made import checked
from .packed.names import Names


@SOURCES.register_module()
class RemoteSource(Source):
    """The image files below a URL, each downloaded when it is first read, and then kept in a cache.

    Args:
        root: a URL that fsspec knows, such as `s3://bucket/folder`, `gs://`, `hf://datasets/...` or `http://`; some
            need a package of their own, which fsspec names.
        cache: folder for the downloaded files; several processes may share it. None, `maetool/remote` in the user's
            cache folder.
        options: what the file system is built with, such as `dict(anon=True)`.

    Raises:
        UsageError: fsspec is not installed, the place cannot be listed, or there is no image.
    """

    files_in: ClassVar[str | None] = "root"

    def __init__(self, root: str, cache: str | Path | None = None, options: Mapping[str, Any] | None = None) -> None:
        need("fsspec", "RemoteSource")
        self.root, self.options = root.rstrip("/"), dict(options or {})
        user_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        digest = hashlib.sha256(self.root.encode()).hexdigest()[:32]
        self.cache = Path(cache or Path(user_cache, "maetool", "remote")) / digest
        self._opened: tuple[int, Any] | None = None
        names = self._listed()
        if not names:
            raise UsageError(f"No image at {self.root}: expected files that end in {', '.join(IMAGE_EXTENSIONS)}.")
        self._names = Names.of([os.fsencode(name) for name in names])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def __len__(self) -> int:
        return len(self._names)

    def relative(self, index: int) -> str:
        """Return the path of image `index` below the URL."""
        return self._names[index]

    def path(self, index: int) -> str:
        """Return the URL of image `index`."""
        return f"{self.root}/{self.relative(index)}"

    def read(self, index: int, most: int = MOST_BYTES) -> tuple[str, bytes]:
        """Return the URL of image `index`, and its bytes, from the cache where they are there.

        Raises:
            UnreadableImage: it cannot be downloaded or read, or has more than `most` bytes.
        """
        path = self.path(index)
        local = self.cache / hashlib.sha256(self._names[index].encode(errors="surrogateescape")).hexdigest()
        if local.is_file():
            try:
                return path, read_bytes(local, most)
            except UnreadableImage as error:
                raise UnreadableImage(path, error.reason) from error
        data = self._downloaded(path, most)
        try:
            write_file(local, data, durable=False)
        except Exception as error:
            raise UnreadableImage(path, f"its cache {local} cannot be written ({error})") from error
        return path, data

    def _downloaded(self, path: str, most: int) -> bytes:
        try:
            system, place = self._system()
            with system.open(f"{place}/{path[len(self.root) + 1 :]}", "rb") as file:
                data = file.read(most + 1)
        except Exception as error:  # of the file system: gone, forbidden, no network
            raise UnreadableImage(path, f"it cannot be downloaded ({type(error).__name__}: {error})") from error
        return checked(data, path, most)

    def _listed(self) -> list[str]:
        try:
            system, place = self._system()
            found = system.find(place)
        except Exception as error:  # of the file system, or a package that it needs
            raise UsageError(f"{self.root} cannot be listed ({type(error).__name__}: {error}).") from error
        place = place.rstrip("/")
        names = (name[len(place) + 1 :] for name in found if name.startswith(f"{place}/"))
        return sorted(name for name in names if name.lower().endswith(IMAGE_EXTENSIONS))

    def _system(self) -> tuple[Any, str]:
        """Return file system and place in it; one for each process, because its threads do not survive a fork."""
        import fsspec

        if self._opened is None or self._opened[0] != os.getpid():
            options = {**self.options, "skip_instance_cache": True}
            self._opened = (os.getpid(), fsspec.core.url_to_fs(self.root, **options))
        system, place = self._opened[1]
        return system, place.rstrip("/")
