"""Two runs cannot train in one work folder; tried with real processes."""

import os
import signal
import socket

import pytest
from warm import run_warm, start_warm

from maetool import compat
from maetool.cli import USAGE_EXIT
from maetool.engine.run_lock import LOCK, only_run_in
from maetool.errors import UsageError

HOLDS = """
import sys, time
from torch.utils.data import DataLoader
from maetool.engine.run_lock import only_run_in

class Slow(list):
    def __getitem__(self, index):
        print(__import__("os").getpid(), flush=True)
        time.sleep(60)

with only_run_in(sys.argv[1]):
    next(iter(DataLoader(Slow([1]), num_workers=1)))
"""


def train(work_dir, *more):
    command = ["tools/train.py", "configs/mae/vit-t_shapes.py", "--work-dir", str(work_dir), *more]
    return [*command, "--cfg-options", "val_dataloader=None"]


def start_training(repository, work_dir):
    return start_warm(train(work_dir), repository, OMP_NUM_THREADS=1, PYTHONPATH=repository)


def start_holding(folder):
    (folder / "holds.py").write_text(HOLDS)
    return start_warm(["holds.py", folder], folder)


def test_a_second_run_is_refused_until_the_first_is_killed(repository, tmp_path):
    first = start_training(repository, tmp_path)
    while "step 1/" not in first.stdout.readline():
        assert first.poll() is None, first.stderr.read()[-2000:]
    config = (tmp_path / "vit-t_shapes.py").stat().st_mtime_ns
    for more in ([], ["--resume"]):
        second = run_warm(train(tmp_path, *more), repository)
        assert second.returncode == USAGE_EXIT
        assert f"is in use by another run: process {first.pid} on {socket.gethostname()}, since" in second.stderr
        assert "Traceback" not in second.stderr
    assert (tmp_path / "vit-t_shapes.py").stat().st_mtime_ns == config  # nothing of the first was touched
    first.kill()
    first.communicate()
    with only_run_in(str(tmp_path)):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="loaders are forked")
def test_a_loading_process_that_outlives_its_run_does_not_keep_the_folder(tmp_path):
    holder = start_holding(tmp_path)
    worker = int(holder.stdout.readline())
    os.kill(worker, signal.SIGSTOP)  # a process that hangs in a network disk cannot be ended, either
    with pytest.raises(UsageError, match=f"process {holder.pid} on "), only_run_in(str(tmp_path)):
        pass
    holder.kill()
    holder.wait()
    os.kill(worker, 0)  # is there
    with only_run_in(str(tmp_path)):
        assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} on ")
    os.kill(worker, signal.SIGKILL)


def test_a_job_has_one_lock(tmp_path):
    with only_run_in(str(tmp_path)), only_run_in(str(tmp_path)):  # as `maetool train` and the runner do
        pass
    first = start_holding(tmp_path)
    first.stdout.readline()
    with only_run_in(str(tmp_path), "pytorch", {"RANK": "1"}):
        pass
    with pytest.raises(UsageError, match="in use"), only_run_in(str(tmp_path), "pytorch", {"RANK": "0"}):
        pass
    with pytest.raises(UsageError, match="in use"), only_run_in(str(tmp_path), "none", {"RANK": "1"}):
        pass
    first.kill()
    first.wait()


def test_it_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), only_run_in(str(tmp_path)):
        raise KeyboardInterrupt
    (tmp_path / "other.py").write_text("from maetool.engine.run_lock import only_run_in\nwith only_run_in('.'): pass")
    run_warm(["other.py"], tmp_path).check_returncode()


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr("maetool.engine.run_lock.print_log", lambda line, *_: lines.append(line))
    monkeypatch.setattr("maetool.engine.run_lock.lock_file", lambda file: None)
    with only_run_in(str(tmp_path)):
        pass
    assert "has no locks: make sure that no second run" in lines[0]


@pytest.mark.parametrize(("number", "locked"), [(11, False), (13, False), (37, None), (95, None)])
def test_what_the_system_says_of_a_lock(monkeypatch, number, locked):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(number, "")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    assert compat.lock_file(0) is locked


def test_a_work_folder_below_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"), only_run_in(str(tmp_path / "file" / "run")):
        pass
