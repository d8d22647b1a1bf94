"""Checkpoints at an address or of a model hub: downloaded once into a cache, then read as any other file."""

import difflib
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import torch

from maetool.errors import UsageError

from .folders import PREFERRED, is_index, shards_of

# A model of timm by its name, and a repository of the Hugging Face hub.
_HUB = re.compile(r"(timm|hf):([\w.-]+(?:/[\w.-]+)?)")
FACTS = ("config.json", "preprocessor_config.json")
# Modules of timm whose models an encoder of maetool may be: plain ViTs, which `TimmEncoder` checks closer, and Swin.
HELD = {f"timm.models.{name}" for name in ("vision_transformer", "deit", "beit", "eva", "swin_transformer")}
_ADDRESS = re.compile(r"([A-Za-z][\w+.-]+):/+(.*)", re.DOTALL)  # a single letter is a drive; a Path drops a slash


def is_address(source: str | Path) -> bool:
    """Return whether a source is an address of any scheme or a model of a hub, and not a path."""
    return any(pattern.fullmatch(str(source)) is not None for pattern in (_ADDRESS, _HUB))


def timm_name(source: Any) -> str | None:
    """Return the name of a model of timm, of a source `timm:NAME`; None for any other source."""
    match = _HUB.fullmatch(str(source))
    return match[2] if match and match[1] == "timm" else None


def local_file(source: str | Path, download: Callable[[str, str], None] | None = None) -> Path:
    """Return the local path of a source: a path, an address, or the name of a model of a hub.

    What http(s):// names is downloaded to `checkpoints` in torch's folder (`TORCH_HOME`), under a name with a hash of
    the address. `timm:NAME` is the file that timm loads for this name, `hf:OWNER/NAME` a repository of the Hugging Face
    hub; both go to its cache (`HF_HOME`), and the result is a folder with the weights and the files that describe
    them. What was downloaded is not downloaded again.

    Args:
        source: path or address, which may have lost a slash in `pathlib`.
        download: function from an address to a path; torch's by default.

    Raises:
        UsageError: an address of another scheme, one that cannot be reached, or an unknown model.
    """
    if hub := _HUB.fullmatch(str(source)):
        return _from_hub(_timm_repository(hub[2]) if hub[1] == "timm" else hub[2], str(source))
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


def facts_of_timm(name: str) -> Any:
    """Return what timm says of the weights called `name`, such as `input_size` and `mean`; None if unknown."""
    import timm  # some seconds, which other sources need not wait for

    with suppress(RuntimeError):  # of an unknown tag, after the dot
        return timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    return None


def _timm_repository(name: str) -> str:
    import timm

    facts, base = facts_of_timm(name), name.partition(".")[0]
    if facts is not None and timm.model_entrypoint(base).__module__ not in HELD:
        raise UsageError(
            f"timm's {base} is no plain ViT and no Swin, which are all that maetool has of timm: pass the name of one, "
            "such as timm:vit_small_patch16_224."
        )
    if facts is not None and facts.hf_hub_id:
        return str(facts.hf_hub_id)
    near = timm.list_pretrained(f"{base}.*")[:3] or difflib.get_close_matches(base, timm.list_models(), n=3)
    at = f": it is at {facts.url}, whose file is read with --config timm:{base}" if facts and facts.url else ""
    raise UsageError(
        f"timm has no weights called {name} on the hub{at}; near names with weights: {', '.join(near) or 'none'}."
    )


def _from_hub(repository: str, source: str) -> Path:
    """Return the folder of a repository in the hub's cache, with its weights and the files that describe them."""
    try:
        file = _first(repository, PREFERRED)
        for shard in shards_of(file) if is_index(file) else ():
            _first(repository, [shard])
        for name in () if timm_name(source) else FACTS:  # timm itself describes its models
            with suppress(FileNotFoundError):
                _first(repository, [name])
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UsageError(
            f"{source} cannot be read from huggingface.co/{repository} ({reason}): connect this machine, or download "
            "the repository on another one (`hf download`), and pass the folder."
        ) from error
    return file.parent


def _first(repository: str, names: Sequence[str]) -> Path:
    """Return the first of some files that a repository has: of those in the cache, else of those on the hub.

    Raises:
        FileNotFoundError: it has none of them.
        OSError: the hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for in_cache in (True, False):
        for name in names:
            try:
                return Path(hf_hub_download(repository, name, local_files_only=in_cache))
            except LocalEntryNotFoundError as error:
                if not in_cache:
                    raise ConnectionError(str(error)) from error
            except EntryNotFoundError:
                continue
    raise FileNotFoundError(f"it has no {' or '.join(names)}")
