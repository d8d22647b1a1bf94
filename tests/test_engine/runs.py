"""Small runs that the tests of the engine share."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from maetool.config.debug import shrink
from maetool.config.load import change_config, load_config
from maetool.engine import launch
from maetool.weights.read import read_checkpoint

EPOCHS, ITERS = 3, 4


class Signal(Hook):
    """Sends a signal to the last process only, before an iteration."""

    def __init__(self, iteration, number):
        self.iteration, self.number = iteration, number

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.iteration and runner.rank == runner.world_size - 1:
            signal.raise_signal(self.number)


class StopAt(Hook):
    """Ends the run as Ctrl-C does, after an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise KeyboardInterrupt


def make_runner(
    repository,
    work_dir,
    resume=False,
    workers=0,
    config="configs/mae/vit-t_shapes.py",
    options=(),
    hooks=(),
    sgd=False,
    sections=None,  # name to what replaces a section of the config
    every=1,  # iterations between checkpoints
):
    cfg = load_config(repository / config)
    shrink(cfg)
    if cfg.get("train_dataloader"):
        cfg.train_dataloader.dataset.num_samples = 4 * ITERS
        cfg.train_dataloader.num_workers = workers
        cfg.train_cfg.max_epochs = EPOCHS
    cfg.default_hooks.checkpoint.every_n_iters = every
    cfg.work_dir, cfg.resume = str(work_dir), resume
    cfg.custom_hooks += list(hooks)
    if sgd:  # whose steps are linear in the gradient, where Adam's enlarge the rounding of small ones
        cfg.optim_wrapper.optimizer = {"type": "SGD", "momentum": 0.9}
        cfg.base_lr = 1.0
    for name, section in (sections or {}).items():
        cfg[name] = section
    cfg.launcher = "pytorch" if "TORCHELASTIC_RUN_ID" in os.environ else "none"
    change_config(cfg, options)
    return launch.build_runner(cfg)


def stopped_run(repository, work_dir, stop=7, **options):
    runner = make_runner(repository, work_dir, **{"every": stop, **options})
    runner.register_hook(StopAt(stop), "LOWEST")
    with pytest.raises(KeyboardInterrupt):
        runner.train()


def final_state(work_dir):
    state = read_checkpoint(work_dir / f"epoch_{EPOCHS}.pth")
    return state["state_dict"], state["optimizer"]["state"], state["param_schedulers"], state["meta"]["iter"]


def assert_same(ours, theirs):
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    else:
        assert ours == theirs


if __name__ == "__main__":
    from maetool.cli import StoppedError, run

    def main():
        """Train as the JSON on the command line says: the arguments of `make_runner`, and when to `stop` or `die`."""
        said = json.loads(sys.argv[1])
        ends = {said.pop("stop", 0): signal.SIGTERM, said.pop("die", 0): signal.SIGKILL}
        runner = make_runner(Path(said.pop("repository")), Path(said.pop("work_dir")), **said)
        for iteration, number in ends.items():
            runner.register_hook(Signal(iteration, number))
        runner.train()
        if runner.stopped:
            raise StoppedError(runner.stopped, runner.saved_on_stop)

    run(main)
