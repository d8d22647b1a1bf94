"""Steps whose loss or gradient is not finite are left out, written down, and can be repeated."""

import math

import pytest
import torch
from mmengine.hooks import Hook
from runs import StopAt, assert_same, final_state, make_runner
from warm import run_warm

from maetool.engine.optim.loss_scaler import LossScaler
from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.engine.repeat import RepeatedStep
from maetool.errors import UsageError
from maetool.weights.read import read_checkpoint

QUICK = ["val_dataloader=None"]


class Spoil(Hook):
    """Puts an infinite number into the second image of some iterations, as a broken float image would."""

    def __init__(self, *iterations):
        self.iterations = iterations

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 in self.iterations:
            data_batch["inputs"] = data_batch["inputs"].float()
            data_batch["inputs"][1, :, 5, 5] = math.inf


class Watch(Hook):
    """Notes the weights after every iteration."""

    def __init__(self):
        self.weights = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.weights.append(runner.bare_model.encoder.blocks[0].attn.qkv.weight.detach().clone())


def run(repository, work_dir, *spoilt, stop=None, resume=False, options=(), **others):
    runner = make_runner(repository, work_dir, resume=resume, options=[*QUICK, *options], **others)
    watch = Watch()
    for hook in (Spoil(*spoilt), watch, *([StopAt(stop)] if stop else [])):
        runner.register_hook(hook, "LOWEST")
    if stop:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    else:
        runner.train()
    return runner, watch.weights


def test_a_broken_step_changes_nothing_and_is_counted(repository, tmp_path):
    runner, weights = run(repository, tmp_path, 5)
    assert torch.equal(weights[3], weights[4])
    assert not torch.equal(weights[4], weights[5])
    assert runner.optim_wrapper.skipped == 1
    assert runner.optim_wrapper.skipped_in_a_row == 0
    assert all(value.isfinite().all() for value in final_state(tmp_path)[0].values())
    losses, _ = runner.message_hub.get_scalar("train/loss").data
    assert len(losses) == 11  # the broken one does not enter the averages


def test_of_an_accumulated_step_nothing_is_kept(repository, tmp_path):
    runner, weights = run(repository, tmp_path, 5, options=["effective_batch_size=12"])
    assert torch.equal(weights[2], weights[5])  # iterations 4 to 6 make the second step
    assert not torch.equal(weights[5], weights[8])
    assert runner.optim_wrapper.skipped == 1


def test_broken_steps_do_not_break_exact_resume(repository, tmp_path):
    options = ["effective_batch_size=12"]
    run(repository, tmp_path / "unbroken", 2, 5, options=options)
    run(repository, tmp_path / "broken", 2, 5, stop=5, options=options)
    run(repository, tmp_path / "broken", 2, 5, resume=True, options=options)
    assert_same(final_state(tmp_path / "unbroken"), final_state(tmp_path / "broken"))
    guard = read_checkpoint(tmp_path / "broken" / "epoch_3.pth")["optimizer"]["guard"]
    assert guard == {"skipped": 2, "in_a_row": 0, "spoilt": False}


def test_too_many_in_a_row_end_the_run_with_an_explanation(repository, tmp_path):
    with pytest.raises(UsageError, match=r"3 steps in a row .*smaller\s+base_lr.*maetool repeat_step"):
        run(repository, tmp_path, 4, 6, 7, 8, 9, options=["custom_hooks.3.max_in_a_row=3"])
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert all(f"Step of iteration {number} skipped: the loss is nan" in log for number in (4, 6, 7, 8))
    assert sorted(path.name for path in (tmp_path / "broken_steps").iterdir()) == [
        f"iter_{number}_process_0.pth" for number in (4, 6, 7)
    ]


def test_a_step_can_be_repeated(repository, tmp_path):
    run(repository, tmp_path, 5)
    path = tmp_path / "broken_steps" / "iter_5_process_0.pth"
    step = RepeatedStep(str(path))
    found = step.run()
    assert not math.isfinite(found["loss"])
    assert found["samples"] == [1]
    assert found["gradients"]
    before = read_checkpoint(path)["state_dict"]
    assert_same(before, {name: value.detach() for name, value in step.model.state_dict().items()})
    step.batch["inputs"][1, :, 5, 5] = 0.0
    repaired = RepeatedStep(str(path))
    repaired.batch = step.batch
    assert repaired.run() | {"loss": 0} == {"loss": 0, "first": "", "gradients": [], "samples": []}
    out = run_warm(["-m", "maetool", "repeat_step", path], repository).stdout
    assert "Iteration 5 of epoch 2, process 0: the loss is nan" in out
    assert f"Images whose own loss is not finite: {int(step.batch['index'][1])} " in out


def test_a_step_of_fine_tuning_can_be_repeated(repository, tmp_path):
    """Mixing spreads what is not finite to the partner of an image; alone, only the image itself shows it."""
    options = ["model.data_preprocessor.type=AugmentingPreprocessor"]
    run(repository, tmp_path, 5, options=options, config="configs/finetune/vit-t_shapes.py")
    path = tmp_path / "broken_steps" / "iter_5_process_0.pth"
    found = RepeatedStep(str(path)).run()
    assert not math.isfinite(found["loss"])
    assert found["samples"] == [1]
    assert all(value.isfinite().all() for value in final_state(tmp_path)[0].values())


def test_a_checkpoint_is_not_a_step(repository, tmp_path):
    run(repository, tmp_path)
    with pytest.raises(UsageError, match="holds no step"):
        RepeatedStep(str(tmp_path / "epoch_3.pth"))


@pytest.mark.parametrize("guard", [True, False])
def test_the_wrapper_alone(guard):
    weight = torch.nn.Parameter(torch.ones(2))
    wrapper = AutocastOptimWrapper(torch.optim.SGD([weight], lr=1.0), guard=guard, clip_grad={"max_norm": 1.0})
    wrapper.update_params((weight * torch.tensor([3.0, 4.0])).sum())
    torch.testing.assert_close(weight.detach(), torch.tensor([0.4, 0.2]))  # gradient (3, 4) shortened to (0.6, 0.8)
    wrapper.update_params((weight * math.inf).sum())
    assert weight.isfinite().all() == guard
    assert (wrapper.fault is not None) == guard


@pytest.mark.parametrize("wrong", [{"max_norm": 0}, {"max_norm": "a"}, {"norm": 1.0}, {}, 1.0, "max_norm"])
def test_clipping_takes_a_positive_norm(wrong):
    with pytest.raises(UsageError, match=r"clip_grad is .* with N above 0"):
        AutocastOptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=1.0), clip_grad=wrong)


def test_a_scaled_loss_leaves_overflow_to_the_scale():
    weight = torch.nn.Parameter(torch.ones(2))
    wrapper = AutocastOptimWrapper(torch.optim.SGD([weight], lr=1.0), dtype="float16")
    wrapper.loss_scaler = LossScaler("cpu", init_scale=4.0)
    wrapper.update_params((weight * 1.5e38).sum())  # overflows when scaled
    assert wrapper.fault is None
    assert wrapper.loss_scaler.get_scale() == 2.0
    assert weight.isfinite().all()
    wrapper.update_params((weight * 0.5).sum())
    torch.testing.assert_close(weight.detach(), torch.tensor([0.5, 0.5]))
    state = wrapper.state_dict()
    other = AutocastOptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=1.0), dtype="float16")
    other.loss_scaler = LossScaler("cpu")
    other.load_state_dict(state)
    assert other.loss_scaler.get_scale() == 2.0
    wrapper.update_params((weight * math.nan).sum())  # not an overflow: the loss itself
    assert wrapper.fault == "the loss is nan"
    assert weight.isfinite().all()
