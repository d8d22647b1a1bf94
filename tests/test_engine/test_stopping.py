"""Being told to stop: the step is finished, saved, and told by an exit code."""

import os
import signal
import subprocess
import sys
import time

import pytest
from mmengine.hooks import Hook
from runs import EPOCHS, assert_same, final_state, make_runner

from maetool import cli
from maetool.engine.checkpoint import POINTER, read_checkpoint
from maetool.engine.stopping import StopRequest
from maetool.errors import UsageError

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
    command = [sys.executable, "tools/train.py", "configs/mae/vit-t_shapes.py", "--work-dir", str(tmp_path / "run")]
    command += ["--cfg-options", "train_dataloader.num_workers=2", "train_cfg.val_at_start=False"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=repository,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while "step 1/" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()[-2000:]
    os.killpg(process.pid, number)  # as Slurm does: every process of the job
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == cli.STOPPED_EXIT == 75, stderr[-2000:]
    assert f"Stopped: asked to by {number.name}" in stderr
    assert "--resume goes on from here" in stderr
    name = (tmp_path / "run" / POINTER).read_text()
    assert name.startswith("iter_")
    assert read_checkpoint(tmp_path / "run" / name)["meta"]["iter"] == int(name[5:-4])


def test_training_that_is_over_is_not_stopped(repository, tmp_path):
    runner = make_runner(repository, tmp_path, options=QUICK)
    runner.train()
    assert runner.stopped == ""
    assert runner.epoch == EPOCHS
