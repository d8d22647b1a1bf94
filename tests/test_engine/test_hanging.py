"""A process of a job that hangs, and signals to such a job; tried with two real processes."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from warm import start_warm

from maetool.weights.read import read_checkpoint
from maetool.weights.work_dir import POINTER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")

OPTIONS = ["train_dataloader.batch_size=2", "val_dataloader=None", "train_cfg.max_epochs=1000", "custom_hooks=[]"]
GRACE = 30  # seconds between torchrun's SIGTERM and its SIGKILL
SLACK = 40  # for a machine under load


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def start(repository, tmp_path):
    """Start a job that trains on two processes, and return it with the ids of the two after some steps."""
    jobs = []

    def start(**said):
        said = {"repository": str(repository), "work_dir": str(tmp_path), "sgd": True, "options": OPTIONS, **said}
        command = ["-m", "maetool.engine.processes", "--standalone", "--nproc-per-node", "2"]
        command += [Path(__file__).parent / "runs.py", json.dumps(said)]
        with (tmp_path / "output").open("w") as output:
            job = start_warm(command, tmp_path, output, OMP_NUM_THREADS=1, PYTHONPATH=repository)
        jobs.append(job)
        while not (tmp_path / "iter_5.pth").exists():
            assert job.poll() is None, (tmp_path / "output").read_text()[-3000:]
            time.sleep(0.05)
        processes = children_of(job.pid)
        assert len(processes) == 2
        return job, processes

    yield start
    for job in jobs:
        for pid in [*children_of(job.pid), job.pid] if job.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        job.wait()


def test_it_is_noticed_in_the_time_of_the_config(start, tmp_path):
    job, processes = start(options=[*OPTIONS, "env_cfg.dist_cfg.timeout=5"])
    os.kill(processes[1], signal.SIGSTOP)
    assert job.wait(5 + GRACE + SLACK) == 1
    output = (tmp_path / "output").read_text()
    assert "error: Another process of the job did not answer for 5 seconds: it hangs" in output
    assert "Traceback" not in output


def test_a_job_with_one_that_hangs_ends_within_the_time_torchrun_gives(start, tmp_path):
    job, processes = start()
    os.kill(processes[1], signal.SIGSTOP)
    time.sleep(2)
    job.send_signal(signal.SIGTERM)
    assert job.wait(GRACE + SLACK) == 1
    assert (
        "error: stopped by SIGTERM before the processes could save: one of them hangs"
        in (tmp_path / "output").read_text()
    )


def test_a_loader_that_hangs_in_one_does_not_keep_the_job_from_saving(start, tmp_path):
    job, processes = start(workers=1)
    os.kill(children_of(processes[1])[0], signal.SIGSTOP)
    time.sleep(2)
    job.send_signal(signal.SIGTERM)
    assert job.wait(GRACE) == 75
    output = (tmp_path / "output").read_text()
    name = (tmp_path / POINTER).read_text()
    assert f"is saved as {name}." in output
    read_checkpoint(tmp_path / name)


def test_ctrl_c_is_130_in_a_job_too(start, tmp_path):
    job, _ = start(workers=1)
    os.killpg(job.pid, signal.SIGINT)  # the terminal's group; torchrun passes it on
    assert job.wait(GRACE + SLACK) == 130
    output = (tmp_path / "output").read_text()
    assert output.count("Stopped. The same command with --resume continues from the last checkpoint.") == 1
    assert "Traceback" not in output
