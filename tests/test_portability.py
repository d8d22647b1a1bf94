"""maetool can be imported, and reads shards, where the interfaces of Unix are missing."""

import math
import os
import sys
import threading

import pytest
import torch
from warm import run_warm

from maetool import compat

WITHOUT_UNIX = """
import os, signal, sys
for module in ("resource", "fcntl", "pwd", "grp"):
    sys.modules[module] = None
for name in ("SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGHUP", "SIGALRM"):
    delattr(signal, name)
for name in ("pread", "sched_getaffinity", "getuid"):
    delattr(os, name)
import torch, timm, mmengine, mmengine.runner  # packages of others decide for themselves what they need
import importlib, pkgutil, maetool
names = [m.name for m in pkgutil.walk_packages(maetool.__path__, "maetool.") if m.name != "maetool.__main__"]
for name in names:
    importlib.import_module(name)
from maetool.engine.stopping import StopRequest
with StopRequest() as request:
    assert request.reason() == ""
print(len(names))
"""


def test_everything_can_be_imported(repository):
    result = run_warm(["-c", WITHOUT_UNIX], repository, timeout=120, bare=True)
    assert result.returncode == 0, result.stderr[-2000:]
    assert int(result.stdout) > 150


@pytest.mark.parametrize("has_pread", [True, False])
def test_files_are_read_at_a_place_by_many_threads(tmp_path, monkeypatch, has_pread):
    if not has_pread:
        monkeypatch.delattr(os, "pread")
    path = tmp_path / "numbers"
    path.write_bytes(b"".join(b"%08d" % i for i in range(2000)))
    wrong = []

    def read(first):
        for i in range(first, 2000, 4):
            found = compat.read_at(file.fileno(), 8, 8 * i)
            wrong.extend([found] if found != b"%08d" % i else [])

    with path.open("rb", buffering=0) as file:
        threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert compat.read_at(file.fileno(), 16, 8 * 1999) == b"00001999"
    assert wrong == []


@pytest.mark.parametrize("accelerator", [False, True])
def test_generators_are_seeded_where_there_are_devices(monkeypatch, accelerator):
    """torch.manual_seed formats the call stack for each kind of device that is not there."""
    expected, of_all = torch.rand(3, generator=torch.Generator().manual_seed(7)), []
    seed_all = torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda seed: of_all.append(seed) or seed_all(seed))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    compat.seed_generators(7)
    assert torch.equal(torch.rand(3), expected)
    assert of_all == [7] * accelerator


def test_memory(monkeypatch):
    assert 1e7 < compat.peak_memory() < 1e12
    monkeypatch.setitem(sys.modules, "resource", None)
    assert math.isnan(compat.peak_memory())
