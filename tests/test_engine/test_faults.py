"""Nothing that was good is lost: writes that fail, and processes that are killed, at any moment."""

import errno
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from runs import Signal, StopAt, assert_same, final_state, make_runner, stopped_run
from warm import run_warm

from maetool import writing
from maetool.errors import UsageError
from maetool.weights import background
from maetool.weights.read import read_checkpoint
from maetool.weights.work_dir import POINTER, newest_readable
from maetool.weights.write import write_checkpoint

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
    stopped_run(repository, work_dir, stop=10, options=QUICK, every=1)
    return work_dir


LATE = [*QUICK, "default_hooks.checkpoint.asynchronous=True"]


def go_on(layer, monkeypatch, repository, work_dir, options=QUICK):
    """Go on from iteration 10 with a faulty file layer."""
    runner = make_runner(repository, work_dir, resume=True, options=options)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "os", layer)
        patch.setattr(writing, "open", layer.open_file, raising=False)
        runner.train()


# The operations of one save, in order; the folder is flushed after each renaming.
SAVE = [("open", 1), ("write", 1), ("write", 700), ("fsync", 1), ("replace", 1), ("fsync", 2)]
SAVE += [("open pointer", 1), ("write pointer", 1), ("fsync", 3), ("replace", 2), ("fsync", 4), ("unlink", 1)]


# One of each operation is enough for checkpoints that are written while training goes on, by the same functions.
PLACES = [(where, QUICK) for where in SAVE] + [(where, LATE) for where in (SAVE[2], SAVE[4], SAVE[7], SAVE[11])]


@pytest.mark.parametrize(("where", "options"), PLACES, ids=str)
@pytest.mark.parametrize("kind", ["full", "killed"])
def test_a_save_that_fails_loses_nothing(
    monkeypatch, repository, interrupted, unbroken, tmp_path, where, options, kind
):
    work_dir = tmp_path / "run"
    shutil.copytree(interrupted, work_dir)
    kind = "cut" if kind == "killed" and where[0].startswith("write") else kind
    layer = FaultyFiles(*where, kind)
    if kind == "full":
        go_on(layer, monkeypatch, repository, work_dir, options)  # training goes on and saves again
    else:
        with pytest.raises(KilledError):
            go_on(layer, monkeypatch, repository, work_dir, options)
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


def test_what_is_written_late_is_what_it_was(monkeypatch, repository, unbroken, tmp_path):
    """The file of iteration 5 waits until training is further; nobody sees it before it is complete."""
    further, seen = threading.Event(), []

    def slow(state, path):
        assert further.wait(60)
        write_checkpoint(state, path)

    class Look(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter + 1 == 7:
                seen.extend((newest_readable(tmp_path / "late", print), runner.writer.path.name))
                further.set()

    options = [*LATE, *(f"default_hooks.checkpoint.{each}" for each in ("every_n_iters=5", "interval=9", "keep=-1"))]
    runner = make_runner(repository, tmp_path / "late", options=options)
    runner.register_hook(Look(), "LOWEST")
    monkeypatch.setattr(background, "write_checkpoint", slow)
    runner.train()
    assert seen == [None, "iter_5.pth"]
    stopped_run(repository, tmp_path / "now", stop=5, options=QUICK)
    late, now = (read_checkpoint(tmp_path / name / "iter_5.pth") for name in ("late", "now"))
    for name in ("state_dict", "optimizer", "param_schedulers"):
        assert_same(late[name], now[name])
    assert_same(unbroken, final_state(tmp_path / "late"))
    assert (tmp_path / "late" / POINTER).read_text() == "epoch_3.pth"


@pytest.mark.parametrize("stop", [6, 7])
def test_a_stop_waits_for_what_is_being_written(repository, tmp_path, stop):
    options = [*LATE, "default_hooks.checkpoint.every_n_iters=3", "default_hooks.checkpoint.interval=9"]
    runner = make_runner(repository, tmp_path, options=options)
    runner.register_hook(Signal(stop, signal.SIGTERM))
    runner.train()
    assert runner.saved_on_stop and runner.stopped.endswith(f"is saved as iter_{stop}.pth")
    assert (tmp_path / POINTER).read_text() == f"iter_{stop}.pth" and runner.writer.path is None


def test_three_late_ones_in_a_row_that_fail_end_the_run(monkeypatch, repository, tmp_path):
    def fail(state, path):
        raise UsageError(f"{path.name}: no space")

    monkeypatch.setattr(background, "write_checkpoint", fail)
    with pytest.raises(UsageError, match=r"iter_3\.pth: no space"):
        make_runner(repository, tmp_path, options=LATE).train()
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert log.count("no space Training continues") == 2


def test_a_run_that_is_broken_off_leaves_no_writer(repository, tmp_path):
    runner = make_runner(repository, tmp_path, options=LATE)
    runner.register_hook(StopAt(3), "LOWEST")
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert not any(thread.name == "checkpoint" for thread in threading.enumerate())
    assert newest_readable(tmp_path, print).stem == "iter_3"


KILLED_RUNS = """
import json, os, random, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from runs import make_runner

repository, folder = Path(sys.argv[1]), Path(sys.argv[2])
options = ["val_dataloader=None", "custom_hooks=[]"]
make_runner(repository, folder / "unbroken", options=options).train()
moments, kills, runs = random.Random(0), 0, 0
while kills < 8:
    runs, code = runs + 1, None
    while code != 0:
        child, moment = os.fork(), moments.uniform(0.1, 0.7)
        if child == 0:
            signal.setitimer(signal.ITIMER_PROF, moment)  # of its processor time, after which it is gone as by SIGKILL
            log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1), os.dup2(log, 2)
            late = [f"default_hooks.checkpoint.asynchronous={runs % 2 == 0}"]
            make_runner(repository, folder / f"run_{runs}", resume=True, options=options + late).train()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGPROF)
        kills += code != 0
print(json.dumps({"kills": kills, "runs": runs}))
"""


def test_killed_at_random_moments(repository, tmp_path):
    program = tmp_path / "killed_runs.py"
    program.write_text(KILLED_RUNS)
    result = run_warm([program, repository, tmp_path, Path(__file__).parent], tmp_path, 500, OMP_NUM_THREADS=1)
    assert result.returncode == 0, result.stderr[-2000:]
    said = json.loads(result.stdout.splitlines()[-1])
    assert said["kills"] >= 8
    for number in range(1, said["runs"] + 1):
        assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / f"run_{number}"))
