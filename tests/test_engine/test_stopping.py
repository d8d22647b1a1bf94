"""Being told to stop: the step is finished, saved, and told by an exit code."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from runs import EPOCHS, assert_same, final_state, make_runner
from warm import start_warm

from maetool import cli
from maetool.engine.stopping import StopRequest
from maetool.errors import UsageError
from maetool.weights.read import read_checkpoint
from maetool.weights.work_dir import POINTER

QUICK = ["val_dataloader=None", "custom_hooks=[]"]


class Send(Hook):
    """Sends this process a signal before an iteration."""

    def __init__(self, number, iteration):
        self.number, self.iteration = number, iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration:
            signal.raise_signal(self.number)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, repository):
    work_dir = tmp_path_factory.mktemp("unbroken")
    make_runner(repository, work_dir, options=QUICK).train()
    return final_state(work_dir)


@pytest.mark.parametrize(
    ("number", "iteration", "every"), [(signal.SIGTERM, 3, 0), (signal.SIGUSR1, 4, 0), (signal.SIGTERM, 7, 1)]
)
def test_a_signal_saves_and_stops(repository, tmp_path, unbroken, number, iteration, every):
    options = [*QUICK, f"default_hooks.checkpoint.every_n_iters={every}"]
    before = signal.getsignal(number)
    runner = make_runner(repository, tmp_path, options=options)
    runner.register_hook(Send(number, iteration))
    runner.train()
    name = f"iter_{iteration}.pth"
    assert runner.stopped == f"asked to by {number.name}; iteration {iteration} of 12 is saved as {name}"
    assert (tmp_path / POINTER).read_text() == name
    assert signal.getsignal(number) == before
    make_runner(repository, tmp_path, resume=True, options=options).train()
    assert_same(unbroken, final_state(tmp_path))


def test_a_budget_of_time_stops_too(repository, tmp_path, unbroken, monkeypatch):
    runner = make_runner(repository, tmp_path, options=[*QUICK, "train_cfg.max_hours=1000"])
    runner.train()
    assert not runner.stopped
    assert_same(unbroken, final_state(tmp_path))
    runner = make_runner(repository, tmp_path / "second", options=[*QUICK, "train_cfg.max_hours=1000"])
    runner.register_hook(LongAgo(monkeypatch))
    runner.train()
    assert runner.stopped.startswith("the budget of 1000 hours is used up; iteration 2 of 12")


class LongAgo(Hook):
    """Puts the start of the program 2,000 hours back, in the second iteration."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 1:
            self.monkeypatch.setattr("maetool.engine.stopping.STARTED", time.monotonic() - 2000 * 3600)


@pytest.mark.parametrize("hours", [0, -1.0])
def test_a_budget_must_be_positive(hours):
    with pytest.raises(UsageError, match="hours above 0"):
        StopRequest(hours)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_tool_leaves_with_its_own_code_also_when_its_workers_get_the_signal(repository, tmp_path, number):
    command = ["tools/train.py", "configs/mae/vit-t_shapes.py", "--work-dir", tmp_path / "run"]
    command += ["--cfg-options", "train_dataloader.num_workers=2", "train_cfg.val_at_start=False"]
    process = start_warm(command, repository, OMP_NUM_THREADS=1)
    while "step 1/" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()[-2000:]
    os.killpg(process.pid, number)  # as Slurm does: every process of the job
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == cli.STOPPED_EXIT == 75, stderr[-2000:]
    assert f"Stopped: asked to by {number.name}" in stderr
    assert "--resume continues from here" in stderr
    name = (tmp_path / "run" / POINTER).read_text()
    assert name.startswith("iter_")
    assert read_checkpoint(tmp_path / "run" / name)["meta"]["iter"] == int(name[5:-4])


def test_training_that_is_over_is_not_stopped(repository, tmp_path):
    runner = make_runner(repository, tmp_path, options=QUICK)
    runner.train()
    assert runner.stopped == ""
    assert runner.epoch == EPOCHS


def start(repository, work_dir, *options):
    """Train in a process group of its own, until after the first step."""
    command = ["tools/train.py", "configs/mae/vit-t_shapes.py", "--work-dir", work_dir, *options]
    command += ["--cfg-options", "train_dataloader.num_workers=1", "val_dataloader=None", "custom_hooks=[]"]
    command += ["default_hooks.logger.interval=1"]
    process = start_warm(command, repository, OMP_NUM_THREADS=1, PYTHONPATH=repository)
    while "step 1/" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()[-2000:]
    return process


def children_of(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def hang_loader(process):
    """Stop the loading process, and wait until training waits for it."""
    for worker in children_of(process):
        os.kill(worker, signal.SIGSTOP)
    before = None
    while before != (before := Path(f"/proc/{process.pid}/stat").read_text().split()[13]):  # its processor time
        time.sleep(2)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the loading processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_loader_that_hangs_does_not_keep_a_run_from_stopping(repository, tmp_path, number):
    process = start(repository, tmp_path)
    hang_loader(process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 75, stderr[-2000:]
    name = (tmp_path / POINTER).read_text()
    assert f"asked to by {number.name}; iteration" in stderr and f"is saved as {name}." in stderr
    assert read_checkpoint(tmp_path / name)["meta"]["iter"] == int(name[5:-4]) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="finds the loading processes in /proc")
def test_a_budget_ends_while_the_loader_hangs(repository, tmp_path):
    process = start(repository, tmp_path, "--max-hours", 30 / 3600)
    for worker in children_of(process):
        os.kill(worker, signal.SIGSTOP)
    _, stderr = process.communicate(timeout=90)
    assert process.returncode == 75, stderr[-2000:]
    assert "hours is used up; iteration" in stderr


class Loader:
    """The batches of a loader, one of which never comes: a signal does, after some time."""

    def __init__(self, loader, hang_at):
        self.loader, self.hang_at = loader, hang_at

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for batch in self.loader:
            if self.hang_at == 0:
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
                time.sleep(1000)
            self.hang_at -= 1
            yield batch


@pytest.mark.parametrize("hang_at", [0, 3, 4, 6])  # the first of all, inside and first of an epoch
def test_what_is_saved_then_resumes_to_the_bit(repository, tmp_path, unbroken, hang_at):
    runner = make_runner(repository, tmp_path, options=QUICK)
    loop = runner.train_loop
    loop.dataloader = Loader(loop.dataloader, hang_at)
    began = time.monotonic()
    runner.train()
    assert time.monotonic() - began < 100
    assert runner.stopped.startswith(f"asked to by SIGTERM; iteration {hang_at} of 12 is saved as ")
    make_runner(repository, tmp_path, resume=True, options=QUICK).train()
    assert_same(unbroken, final_state(tmp_path))


@pytest.mark.parametrize("moment", ["imports", "builds", "trains"])
def test_ctrl_c_is_130_and_leaves_a_run_that_resumes(repository, tmp_path, moment):
    """As a terminal does: every process of the group gets it."""
    options = ["--cfg-options", "train_dataloader.num_workers=2", "val_dataloader=None"]
    command = ["tools/train.py", "configs/mae/vit-t_shapes.py", "--work-dir", str(tmp_path), *options]
    sign = {"imports": None, "builds": "million parameters", "trains": "step 1/"}[moment]
    if sign is None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, *command]
        process = subprocess.Popen(command, cwd=repository, env=environment, start_new_session=True, **pipes)
        time.sleep(1.5)
    else:
        process = start_warm(command, repository, OMP_NUM_THREADS=1, PYTHONPATH=repository)
    while sign and sign not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()[-2000:]
    os.killpg(process.pid, signal.SIGINT)
    try:
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()  # if it went on, as where this process ignores the signal, too
    assert process.returncode == cli.INTERRUPTED_EXIT == 130, stderr[-2000:]
    assert "--resume continues from the last checkpoint" in stderr
    assert "Traceback" not in stderr


def test_ctrl_c_in_an_import_does_not_abort(repository, tmp_path):
    """C++ code that imports a module, as torch's, aborts the process when an exception reaches it."""
    (tmp_path / "initialiser.py").write_text(
        "import os, signal, time\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(5)\nexcept BaseException:\n    os.abort()\n"
    )
    program = "from maetool.cli import run\nrun(lambda: __import__('initialiser'), 'Stopped in time.')"
    environment = {**os.environ, "PYTHONPATH": f"{repository}{os.pathsep}{tmp_path}"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr.strip()) == (130, "Stopped in time.")


def test_between_votes_a_process_waits_for_its_batch():
    """Processes that go on need it: only before a vote may a request come first."""
    waited = []

    class Slow:
        def __iter__(self):
            for number in range(6):
                if number == 1:
                    signal.raise_signal(signal.SIGUSR1)
                waited.append(number)
                yield number

    with StopRequest() as stop:
        seen = [(batch, stop.votes) for batch in stop.batches(Slow(), 6, lambda: len(waited) % 4 == 0)]
    assert seen == [(0, True), (1, False), (2, False), (3, False), (None, True), (None, True)]
    assert stop.reason() == "asked to by SIGUSR1"
