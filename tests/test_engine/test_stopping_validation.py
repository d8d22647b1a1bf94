"""Being told to stop during a validation: it is not waited for, and a resume begins with it."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from ranks import run_ranks
from runs import EPOCHS, ITERS, assert_same, make_runner

from maetool.engine.stopping import PassEndedError, StopRequest
from maetool.registry import METRICS
from maetool.weights.read import read_checkpoint
from maetool.weights.work_dir import POINTER

HANGS = 20  # seconds; a run that waits for them does not stop
EMA = {"type": "EMAHook", "momentum": 0.5}
BY_EPOCH = ["default_hooks.checkpoint.every_n_iters=0", "train_cfg.val_at_start=True"]
BY_ITER = [*BY_EPOCH, "train_cfg.max_epochs=None", f"train_cfg.max_iters={EPOCHS * ITERS}", "train_cfg.val_interval=5"]


@METRICS.register_module()
class MeanPixel(BaseMetric):
    """Reads the data once more, after the loop's own metrics."""

    def process(self, data_batch, data_samples):
        self.results += [image.float().mean().item() for image in data_batch["inputs"]]

    def compute_metrics(self, results):
        return {"mean_pixel": sum(results) / len(results), "images": float(len(results))}


class Record(Hook):
    """Keeps the metrics of each validation, and stops the run before a batch of one if that is asked for."""

    def __init__(self, stop_at=None):
        self.found, self.stop_at, self.batches = [], stop_at, 0

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.batches += 1
        if self.batches == self.stop_at:
            signal.raise_signal(signal.SIGTERM)

    def after_val_epoch(self, runner, metrics=None):
        self.found.append((runner.iter, {**metrics, "knn_pixels": 0.0}))  # which is measured once in a process


class HangsOnce:
    """A loader that hangs before a batch, counted over all its passes, and gets a signal then."""

    def __init__(self, loader, hang_at):
        self.loader, self.left = loader, hang_at

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for batch in self.loader:
            if self.left == 0:
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
                time.sleep(HANGS)
            self.left -= 1
            yield batch


def prepared(repository, folder, options, record, **said):
    sections = {"val_evaluator": {"type": "MeanPixel"}, "custom_hooks": [EMA]}
    runner = make_runner(repository, folder, options=options, sections=sections, **said)
    runner.register_hook(record)
    return runner


@pytest.fixture(scope="module", params=["epochs", "iterations"])
def unbroken(request, tmp_path_factory, repository):
    """Return the options of a run, what its validations measured, and its last checkpoint."""
    options = BY_EPOCH if request.param == "epochs" else BY_ITER
    folder, record = tmp_path_factory.mktemp("unbroken"), Record()
    runner = prepared(repository, folder, options, record)
    runner.train()
    places = [0, 8, 12] if runner.train_loop.by_epoch else [0, 5, 10, 12]
    assert [iteration for iteration, _ in record.found] == places
    return options, record.found, read_checkpoint(folder / "epoch_3.pth")


def hang(runner, loader, place, batch):
    """Let a loader hang in the validation number `place`."""
    loop = runner.val_loop
    if loader == "validation":  # read for the losses, the features and the metric
        loop.batches.loader = HangsOnce(loop.dataloader, 3 * len(loop.dataloader) * place + batch)
    else:
        bank = runner.build_dataloader(loop.bank_dataloader, seed=runner.seed)
        loop.bank_dataloader = HangsOnce(bank, len(bank) * place + batch)


def histories(state):
    scalars = state["message_hub"]["log_scalars"]
    return {name: scalars[name] for name in ("val/loss", "val/knn", "val/mean_pixel")}


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself a signal there")
@pytest.mark.parametrize(
    ("place", "loader", "batch"),
    [(0, "validation", 0), (1, "neighbours", 1), (1, "validation", 5), (-1, "validation", 3)],
)
def test_a_loader_that_hangs_is_not_waited_for_and_a_resume_begins_with_this_validation(
    repository, tmp_path, unbroken, place, loader, batch
):
    options, found, last = unbroken
    place, record = place % len(found), Record()
    runner = prepared(repository, tmp_path, options, record)
    hang(runner, loader, place, batch)
    began = time.monotonic()
    runner.train()
    assert time.monotonic() - began < HANGS
    name = f"iter_{found[place][0]}.pth"
    assert runner.stopped == (
        f"asked to by SIGTERM during validation; iteration {found[place][0]} of 12 is saved as {name}"
    )
    assert (tmp_path / POINTER).read_text() == name
    assert record.found == found[:place]
    again = Record()
    prepared(repository, tmp_path, options, again, resume=True).train()
    assert again.found == found[place:]
    resumed = read_checkpoint(tmp_path / "epoch_3.pth")
    for part in ("state_dict", "ema_state_dict", "optimizer"):
        assert_same(last[part], resumed[part])
    assert_same(histories(last), histories(resumed))
    assert "owes_validation" not in resumed["meta"]


def test_a_signal_is_heeded_before_the_next_batch(repository, tmp_path):
    record = Record(stop_at=1)
    runner = prepared(repository, tmp_path, BY_EPOCH, record)
    weights = {name: value.clone() for name, value in runner.bare_model.state_dict().items()}
    runner.train()
    assert (record.batches, record.found) == (1, [])
    assert runner.stopped.startswith("asked to by SIGTERM during validation; iteration 0 of 12 is saved")
    assert_same(weights, runner.bare_model.state_dict())
    assert all(not metric.results for metric in runner.val_loop.evaluator.metrics)


class LongAgo(Hook):
    """Puts the start of the program an hour back, in every validation but the first."""

    def __init__(self, monkeypatch):
        self.monkeypatch = monkeypatch

    def before_val_epoch(self, runner):
        self.monkeypatch.setattr("maetool.engine.stopping.STARTED", time.monotonic() - 3600 * bool(runner.iter))


def test_a_used_up_budget_ends_a_validation_too(repository, tmp_path, monkeypatch):
    record = Record()
    runner = prepared(repository, tmp_path, [*BY_EPOCH, "train_cfg.max_hours=0.5"], record)
    runner.register_hook(LongAgo(monkeypatch))
    runner.train()
    assert [iteration for iteration, _ in record.found] == [0]
    assert runner.stopped.startswith("the budget of 0.5 hours is used up during validation; iteration 8 of 12 is saved")


class Freezes(Hook):
    """Stops the processes that load, as a disk that hangs does, and gets a signal later."""

    def before_run(self, runner):
        self.others = multiprocessing.active_children()  # of tests before

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.workers = [child for child in multiprocessing.active_children() if child not in self.others]
        for worker in self.workers:
            os.kill(worker.pid, signal.SIGSTOP)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        self.end = threading.Timer(HANGS, lambda: [worker.kill() for worker in self.workers])
        self.end.start()


@pytest.mark.skipif(sys.platform != "linux", reason="stops a process")
@pytest.mark.parametrize("loop", ["PretrainValLoop", "ValLoop"])  # the latter, without evaluators, is MMEngine's
def test_a_process_that_loads_for_a_validation_may_hang(repository, tmp_path, loop):
    options = [*BY_EPOCH, "val_dataloader.num_workers=1", "val_dataloader.batch_size=1"]
    sections = {"val_evaluator": {"type": "MeanPixel"}, "val_cfg": {"type": loop}, "custom_hooks": []}
    freezes = Freezes()
    runner = make_runner(repository, tmp_path, options=options, sections=sections)
    runner.register_hook(freezes)
    runner.train()
    freezes.end.cancel()
    assert runner.stopped.startswith("asked to by SIGUSR1 during validation; iteration 0 of 12 is saved as iter_0.pth")
    for worker in freezes.workers:
        worker.join(5)
    assert freezes.workers and not any(worker.is_alive() for worker in freezes.workers)


def make_passes(rank, folder):
    """Read two passes as one of two processes; only the first gets a signal, in its second pass, which hangs."""
    seen, stop, began = [], StopRequest(), time.monotonic()
    with stop:
        try:
            seen += stop.full_pass([0] * (rank + 1))
            for batch in stop.full_pass(HangsOnce([1] * 3, 2 if rank == 0 else 9)):
                seen.append(batch)
            seen.append("a third pass")
        except PassEndedError as ended:
            seen.append(ended.reason)
    assert time.monotonic() - began < HANGS
    torch.save(seen, Path(folder, f"{rank}.pt"))


def test_all_processes_end_the_same_pass(tmp_path):
    run_ranks(make_passes, str(tmp_path))
    assert torch.load(tmp_path / "0.pt") == [0, 1, 1, "asked to by SIGTERM"]
    assert torch.load(tmp_path / "1.pt") == [0, 0, 1, 1, 1, "asked to by SIGTERM"]
