"""How long a start takes where there are very many files, and how much memory."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from maetool.data import ImageFolderDataset, KeyedSampler

from .photos import write_photos

_PHOTOS, _PER_FOLDER = 10, 1000
_NAME = "n{folder:08d}/n{folder:08d}_{number:08d}.JPEG"  # as long as ImageNet's


def run(files: int, rounds: int) -> tuple[str, dict[str, Any]]:
    """Measure the first and the later starts on a text list and on a folder, each in a new process.

    A start is: the dataset with its list of files and its trial of 32 images, and the first sample of a shuffled epoch.

    Args:
        files: how many; links to a few photographs.
        rounds: later starts of each kind.
    """
    measured = {}
    with TemporaryDirectory() as temporary:
        folder, cache = Path(temporary, "images"), Path(temporary, "cache")
        _write_tree(folder, files)
        listed = folder / "list.txt"
        listed.write_text("".join(f"{_name(i)}\n" for i in range(files)))
        _age(folder)
        for what, root in (("folder", folder), ("text list", listed)):
            for start in range(rounds + 1):
                seconds, megabytes = _in_new_process(_start, str(root), str(cache))
                name = f"{what}, {'cached' if start else 'first start'}"
                measured.setdefault(name, []).append({"seconds": seconds, "megabytes": megabytes})
    lines = [f"{files:,} files in {-(-files // _PER_FOLDER):,} folders", f"{'start':<24} {'seconds':>8} {'MB':>6}"]
    for name, starts in measured.items():
        seconds, megabytes = (median(start[key] for start in starts) for key in ("seconds", "megabytes"))
        lines.append(f"{name:<24} {seconds:>8.2f} {megabytes:>6.0f}")
    return "\n".join(lines), {"files": files, "starts": measured}


def _name(i: int) -> str:
    return _NAME.format(folder=i // _PER_FOLDER, number=i)


def _write_tree(folder: Path, files: int) -> None:
    write_photos(folder.with_name("photos"), _PHOTOS, (375, 500))
    photos = [str(path) for path in sorted(folder.with_name("photos").iterdir())]
    for i in range(files):
        if i % _PER_FOLDER == 0:
            (folder / _name(i)).parent.mkdir(parents=True)
        os.symlink(photos[i % _PHOTOS], folder / _name(i))


def _age(folder: Path) -> None:
    # The cache trusts only folders that have not changed for two seconds.
    for path in (folder, *folder.iterdir()):
        os.utime(path, (0, 0))


def _in_new_process(function: Callable, *arguments: str) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _start(root: str, cache: str) -> tuple[float, float]:
    """Return seconds, and by how many MB the memory of the process grew at most."""
    Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the peak of the imports
    before, began = _memory("VmRSS"), time.perf_counter()
    data = ImageFolderDataset(root, index_cache=cache)
    data[next(iter(KeyedSampler(data)))]
    return time.perf_counter() - began, _memory("VmHWM") - before


def _memory(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))
