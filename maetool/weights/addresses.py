"""Checkpoints at an address: downloaded once into torch's cache, then read as any other file."""

import re
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path, PurePosixPath
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import torch

from maetool.errors import UsageError

_ADDRESS = re.compile(r"([A-Za-z][\w+.-]+):/+(.*)", re.DOTALL)  # a single letter is a drive; a Path drops a slash


def is_address(source: str | Path) -> bool:
    """Return whether a source is an address of any scheme, and not a path."""
    return _ADDRESS.fullmatch(str(source)) is not None


def local_file(source: str | Path, download: Callable[[str, str], None] | None = None) -> Path:
    """Return the local path of a source: a path, a file:// address, or an http(s):// address, which is downloaded.

    Downloads go to `checkpoints` in torch's folder (`TORCH_HOME`), under a name with a hash of the address. An existing
    file is not downloaded again.

    Args:
        source: path or address, which may have lost a slash in `pathlib`.
        download: function from an address to a path; torch's by default.

    Raises:
        UsageError: an address of another scheme, or one that cannot be reached.
    """
    match = _ADDRESS.fullmatch(str(source))
    if not match:
        return Path(source)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return Path(url2pathname(unquote(f"/{rest}" if not rest.startswith("localhost/") else rest[9:])))
    if scheme not in ("http", "https"):
        raise UsageError(f"{source} has the unsupported scheme {scheme}: download the file and pass its path.")
    return _downloaded(f"{scheme}://{rest}", download or _download)


def _downloaded(address: str, download: Callable[[str, str], None]) -> Path:
    name = PurePosixPath(unquote(urlsplit(address).path)).name or "checkpoint.pth"
    path = Path(torch.hub.get_dir(), "checkpoints", f"{sha256(address.encode()).hexdigest()[:12]}-{name}")
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download(address, str(path))
        except (URLError, OSError, ValueError) as error:
            raise UsageError(f"{address} cannot be downloaded ({error}): download it and pass its path.") from error
    return path


def _download(address: str, path: str) -> None:
    """Download to a temporary file, which is renamed when it is complete."""
    torch.hub.download_url_to_file(address, path, progress=sys.stderr.isatty())
