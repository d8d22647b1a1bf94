"""Several processes on CPUs make the masks, crops, weights and metrics that one makes with the whole batch."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from runs import EPOCHS, make_runner, stopped_run
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from warm import run_job, run_warm, warm_python

from maetool.engine import processes
from maetool.errors import UsageError
from maetool.visualization.curves import read_logs
from maetool.weights.read import read_checkpoint

# Thirteen images to validate on do not divide by two: each must count once, in batches of 3 + 3 + 1 and 3 + 3.
OPTIONS = [
    "val_dataloader.dataset.num_samples=13",
    "val_dataloader.batch_size=3",
    "optim_wrapper.clip_grad.max_norm=2.0",
]
ALONE = {"sgd": True, "options": OPTIONS}
HALVES = {"sgd": True, "options": [*OPTIONS, "train_dataloader.batch_size=2"]}


def train(repository, work_dir, code=0, **said):
    """Train in two processes, which end with `code`, and return what they print."""
    said = {**HALVES, **said, "repository": str(repository), "work_dir": str(work_dir)}
    results = run_job([Path(__file__).parent / "runs.py", json.dumps(said)], repository)
    output = "".join(result.stdout + result.stderr for result in results)
    assert [result.returncode for result in results] == [code, code], output[-4000:]
    return output


def launch(repository, work_dir, code, **said):
    """Train in two processes that torchrun starts."""
    said = {**HALVES, **said, "repository": str(repository), "work_dir": str(work_dir)}
    command = ["-m", "maetool.engine.processes", "--standalone", "--nproc-per-node", "2"]
    command += [Path(__file__).parent / "runs.py", json.dumps(said)]
    result = run_warm(command, repository, OMP_NUM_THREADS=1, MKL_NUM_THREADS=1, PYTHONPATH=repository)
    assert result.returncode == code, result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory, repository):
    work_dir = tmp_path_factory.mktemp("alone")
    make_runner(repository, work_dir, **ALONE).train()
    return work_dir


def assert_as_alone(alone, work_dir):
    one, other = (read_checkpoint(folder / f"epoch_{EPOCHS}.pth") for folder in (alone, work_dir))
    assert one["meta"]["iter"] == other["meta"]["iter"]
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, value in one["state_dict"].items():
        torch.testing.assert_close(value, other["state_dict"][name], atol=2e-6, rtol=1e-5)
    for number, entry in one["optimizer"]["state"].items():
        momentum = other["optimizer"]["state"][number]["momentum_buffer"]
        torch.testing.assert_close(entry["momentum_buffer"], momentum, atol=2e-5, rtol=1e-4)
    ours, theirs = read_logs(alone), read_logs(work_dir)
    for name in ("val/loss", "val/knn"):
        steps = ours[name].keys() & theirs[name].keys()
        assert max(steps) == one["meta"]["iter"]
        assert all(ours[name][step] == pytest.approx(theirs[name][step], abs=1e-4) for step in steps)


@pytest.mark.parametrize(("fsdp", "wrapper"), [(False, None), (True, None), (True, "OptimWrapper")])
def test_two_processes_equal_one(repository, alone, tmp_path, fsdp, wrapper):
    sections = {}
    if wrapper:  # one of MMEngine's
        sgd = {"type": "SGD", "momentum": 0.9}
        sections = {"optim_wrapper": {"type": wrapper, "constructor": "DecayGroupsConstructor", "optimizer": sgd}}
    output = train(repository, tmp_path, options=[*HALVES["options"], f"fsdp={fsdp}"], sections=sections)
    assert "2 processes x 2 images" in output
    assert_as_alone(alone, tmp_path)
    assert (tmp_path / "reconstructions" / f"epoch_{EPOCHS}.png").is_file()


def test_the_averaged_encoder_of_two_processes_is_that_of_one(repository, tmp_path):
    config = "configs/maskdistill/vit-t_shapes.py"
    make_runner(repository, tmp_path / "alone", config=config, **ALONE).train()
    train(repository, tmp_path / "two", config=config, options=[*HALVES["options"], "fsdp=True"])
    assert_as_alone(tmp_path / "alone", tmp_path / "two")


@pytest.mark.parametrize("fsdp", [False, True])
def test_what_two_wrote_one_resumes(repository, alone, tmp_path, fsdp):
    options = [f"fsdp={fsdp}", f"optim_wrapper.deferred={not fsdp}", "train_cfg.vote_every=3"]
    options += ["default_hooks.checkpoint.asynchronous=True"]
    train(repository, tmp_path, code=75, stop=6, options=[*HALVES["options"], *options])
    make_runner(repository, tmp_path, resume=True, **ALONE).train()
    assert_as_alone(alone, tmp_path)


@pytest.mark.parametrize("fsdp", [False, True])
def test_what_one_wrote_two_resume(repository, alone, tmp_path, fsdp):
    stopped_run(repository, tmp_path, stop=6, **ALONE)
    train(repository, tmp_path, resume=True, options=[*HALVES["options"], f"fsdp={fsdp}"])
    assert_as_alone(alone, tmp_path)


def test_a_job_that_is_stopped_without_a_hook_that_saves_says_so(repository, tmp_path):
    options = [*HALVES["options"], "default_hooks.checkpoint=None", "train_dataloader.sampler.type=DefaultSampler"]
    said = launch(repository, tmp_path, code=143, stop=3, options=options)
    assert said.count("is not saved, because no hook of the config writes checkpoints") == 1
    assert "continues from" not in said


def test_a_process_that_dies_ends_the_job_with_a_sentence(repository, tmp_path):
    output = launch(repository, tmp_path, code=1, die=6)
    assert "error: process 1 was killed by SIGKILL" in output
    assert "--resume continues from the last checkpoint" in output


def test_a_mistake_is_told_once(repository, tmp_path):
    output = launch(repository, tmp_path, code=2, options=["train_dataloader.batch_size=100"])
    assert output.count("error: The training data holds 16 images") == 1
    assert "Traceback" not in output


def test_averaging_a_copy_of_a_sharded_model_is_refused(repository, tmp_path):
    output = train(repository, tmp_path, code=2, options=["fsdp=True"], hooks=[{"type": "EMAHook"}])
    assert "error: EMAHook copies the model, but fsdp=True splits it over the processes" in output


def test_the_shell_script_trains_on_two_processes(repository, tmp_path):
    command = ["tools/dist_train.sh", "2", "configs/mae/vit-t_shapes.py", "--debug", "--work-dir", str(tmp_path / "w")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": warm_python(tmp_path)}
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True, env=environment, timeout=200)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "2 processes x 4 images" in result.stdout
    assert (tmp_path / "w_debug" / "epoch_2.pth").is_file()


SLURM = {
    # As Slurm's own: starts the tasks, tells each which it is, and ends with the largest exit code.
    "srun": """#!/usr/bin/env bash
shift
for task in 0 1; do SLURM_PROCID=$task SLURM_LOCALID=$task "$@" & pids+=($!); done
code=0
for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
exit $code
""",
    "scontrol": """#!/usr/bin/env bash
if [ "$1" = show ]; then echo 127.0.0.1; else echo "$@" >> "$SCONTROL_LOG"; fi
""",
}


@pytest.mark.parametrize("hours", [[], ["--max-hours", "0.0000001"]], ids=["whole", "out of time"])
def test_the_script_for_slurm(repository, tmp_path, hours):
    for name, text in SLURM.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node", "PYTHON": warm_python(tmp_path)}
    environment = {**os.environ, **slurm, "OMP_NUM_THREADS": "1", "SCONTROL_LOG": str(tmp_path / "log")}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    command = ["tools/slurm_train.sh", "configs/mae/vit-t_shapes.py", "--debug", "--work-dir", str(tmp_path / "w")]
    result = subprocess.run(
        [*command, *hours], cwd=repository, capture_output=True, text=True, env=environment, timeout=200
    )
    assert result.returncode == (75 if hours else 0), result.stderr[-2000:]
    assert "2 processes x 4 images" in result.stdout
    assert (tmp_path / "w_debug" / ("iter_1.pth" if hours else "epoch_2.pth")).is_file()
    assert (tmp_path / "log").is_file() == bool(hours)  # queued again


def test_processes_that_would_train_alone_are_told(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(UsageError, match="torchrun started 2 processes, but the launcher is none"):
        make_runner(repository, tmp_path, options=["launcher=none"])


@pytest.mark.parametrize(
    ("codes", "saved", "code"),
    [
        ((75, -signal.SIGTERM), True, 75),  # which takes longer to leave
        ((75, -signal.SIGTERM), False, 1),
        ((75, -signal.SIGKILL), True, 1),
        ((-signal.SIGTERM, 1), True, 1),
        ((2, -signal.SIGTERM), False, 2),
        ((-signal.SIGTERM, 143), False, 143),
        ((2, -signal.SIGKILL), False, 1),
    ],
)
def test_a_process_that_takes_longer_to_leave_a_stopped_job(monkeypatch, codes, saved, code):
    """torchrun ends the others by SIGTERM as soon as one has left."""

    def run(_):
        if saved:
            Path(os.environ["MAETOOL_NOTES"], "stopped").touch()
        failures = {rank: ProcessFailure(rank, 10 + rank, exitcode, "none") for rank, exitcode in enumerate(codes)}
        raise ChildFailedError("runs.py", failures)

    monkeypatch.setenv("MAETOOL_NOTES", "")
    monkeypatch.setattr(processes.torchrun, "run", run)
    monkeypatch.setattr(processes, "secure_streams", lambda: None)
    monkeypatch.setattr(processes.signal, "signal", lambda *_: None)
    assert processes.main(["--nproc-per-node", "2", "runs.py"]) == code
