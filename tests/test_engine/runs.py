"""Small runs that the tests of the engine share."""

import pytest
import torch
from mmengine.hooks import Hook

from maetool.engine import launch
from maetool.engine.checkpoint import read_checkpoint
from maetool.engine.config import change_config, load_config
from maetool.engine.debug import shrink

EPOCHS, ITERS = 3, 4


class StopAt(Hook):
    """Ends the run as Ctrl-C does, after an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise KeyboardInterrupt


def make_runner(
    repository, work_dir, resume=False, workers=0, config="configs/mae/vit-t_shapes.py", options=(), hooks=()
):
    cfg = load_config(repository / config)
    shrink(cfg)
    cfg.train_dataloader.dataset.num_samples = 4 * ITERS
    cfg.train_dataloader.num_workers = workers
    cfg.train_cfg.max_epochs = EPOCHS
    cfg.default_hooks.checkpoint.every_n_iters = 1
    cfg.work_dir, cfg.resume = str(work_dir), resume
    cfg.custom_hooks += list(hooks)
    change_config(cfg, options)
    return launch.build_runner(cfg)


def stopped_run(repository, work_dir, stop=7, **options):
    runner = make_runner(repository, work_dir, **options)
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
