"""Nothing that was good is lost: writes that fail, and processes that are killed, at any moment."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from runs import assert_same, final_state, make_runner, stopped_run

from maetool import writing
from maetool.errors import UsageError
from maetool.weights.work_dir import POINTER, newest_readable

QUICK = ["val_dataloader=None", "custom_hooks=[]"]


class KilledError(BaseException):
    """What a killed process does: nothing, from here on."""


class FaultyFiles:
    """Stands for `os` and `open` in the file layer, and fails at one operation.

    Kinds: "full", the disk is full for this operation; "killed", nothing has an effect from this operation on; "cut",
    as killed, but half of what was to be written is.
    """

    def __init__(self, stage, occurrence, kind):
        self.stage, self.occurrence, self.kind, self.dead, self.hit = stage, occurrence, kind, False, False
        self.counts = {}

    def __getattr__(self, name):
        real = getattr(os, name)
        return self._watched(name, real) if name in ("fsync", "replace", "unlink") else real

    def open_file(self, path, mode):
        what = " pointer" if POINTER in str(path) else ""
        self.step("open" + what)
        return FaultyFile(self, open(path, mode), "write" + what)

    def _watched(self, name, real):
        def operation(*arguments):
            self.step(name)
            return real(*arguments)

        return operation

    def step(self, name):
        if self.dead:
            raise KilledError
        self.counts[name] = self.counts.get(name, 0) + 1
        if (name, self.counts[name]) == (self.stage, self.occurrence):
            self.hit, self.dead = True, self.kind != "full"
            raise KilledError if self.dead else OSError(errno.ENOSPC, "No space left on device")


class FaultyFile:
    def __init__(self, layer, file, name):
        self.layer, self.file, self.name = layer, file, name

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        try:
            self.layer.step(self.name)
        except KilledError:
            if self.layer.kind == "cut":
                self.file.write(bytes(data)[: len(data) // 2])
            raise
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, repository):
    work_dir = tmp_path_factory.mktemp("unbroken")
    make_runner(repository, work_dir, options=QUICK).train()
    return final_state(work_dir)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory, repository):
    work_dir = tmp_path_factory.mktemp("interrupted")
    stopped_run(repository, work_dir, stop=10, options=QUICK)
    return work_dir


def go_on(layer, monkeypatch, repository, work_dir):
    """Go on from iteration 10 with a faulty file layer."""
    runner = make_runner(repository, work_dir, resume=True, options=QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "os", layer)
        patch.setattr(writing, "open", layer.open_file, raising=False)
        runner.train()


# The operations of one save, in order; the folder is flushed after each renaming.
SAVE = [("open", 1), ("write", 1), ("write", 700), ("fsync", 1), ("replace", 1), ("fsync", 2)]
SAVE += [("open pointer", 1), ("write pointer", 1), ("fsync", 3), ("replace", 2), ("fsync", 4), ("unlink", 1)]


@pytest.mark.parametrize("where", SAVE, ids=lambda where: f"{where[0]} {where[1]}")
@pytest.mark.parametrize("kind", ["full", "killed"])
def test_a_save_that_fails_loses_nothing(monkeypatch, repository, interrupted, unbroken, tmp_path, where, kind):
    work_dir = tmp_path / "run"
    shutil.copytree(interrupted, work_dir)
    kind = "cut" if kind == "killed" and where[0].startswith("write") else kind
    layer = FaultyFiles(*where, kind)
    if kind == "full":
        go_on(layer, monkeypatch, repository, work_dir)  # training goes on and saves again
    else:
        with pytest.raises(KilledError):
            go_on(layer, monkeypatch, repository, work_dir)
        assert newest_readable(work_dir, print).stem in ("iter_10", "iter_11")
        make_runner(repository, work_dir, resume=True, options=QUICK).train()
    assert layer.hit
    assert_same(unbroken, final_state(work_dir))
    assert not list(work_dir.glob("*.tmp")) + list(work_dir.glob(".*.tmp"))


def test_a_disk_that_stays_full_ends_the_run_with_a_sentence(monkeypatch, repository, interrupted, unbroken, tmp_path):
    work_dir = tmp_path / "run"
    shutil.copytree(interrupted, work_dir)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    runner = make_runner(repository, work_dir, resume=True, options=QUICK)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match=r"No space left.*free disk space"):
            runner.train()
    assert newest_readable(work_dir, print).stem == "iter_10"
    make_runner(repository, work_dir, resume=True, options=QUICK).train()
    assert_same(unbroken, final_state(work_dir))


KILLED_RUNS = """
import json, os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from runs import make_runner

repository, folder = Path(sys.argv[1]), Path(sys.argv[2])
options = ["val_dataloader=None", "custom_hooks=[]"]
make_runner(repository, folder / "unbroken", options=options).train()
moments, kills, runs = random.Random(0), 0, 0
while kills < 8:
    runs, alive = runs + 1, True
    while alive:
        child = os.fork()
        if child == 0:
            log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1), os.dup2(log, 2)
            make_runner(repository, folder / f"run_{runs}", resume=True, options=options).train()
            os._exit(0)
        deadline = time.monotonic() + moments.uniform(0.1, 1.2)
        while alive and time.monotonic() < deadline:
            time.sleep(0.002)
            if os.waitpid(child, os.WNOHANG)[0]:
                alive = False
        if alive:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
print(json.dumps({"kills": kills, "runs": runs}))
"""


def test_killed_at_random_moments(repository, tmp_path):
    command = [sys.executable, "-c", KILLED_RUNS, str(repository), str(tmp_path), str(Path(__file__).parent)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    assert result.returncode == 0, result.stderr[-2000:]
    said = json.loads(result.stdout.splitlines()[-1])
    assert said["kills"] >= 8
    for number in range(1, said["runs"] + 1):
        assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / f"run_{number}"))
