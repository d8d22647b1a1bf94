"""Steps whose outcome is read one iteration later, as on accelerators: the same weights, files and sentences."""

import math
from contextlib import nullcontext
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub
from runs import assert_same, final_state
from test_guard import run
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from maetool.engine.hooks import LogHook, ScalarsHook
from maetool.engine.hooks.scalars import _read, needs_logged_values
from maetool.engine.optim import LARS
from maetool.engine.optim.by_part import AutocastOptimWrapperDict
from maetool.engine.optim.leaving_out import can_skip
from maetool.engine.optim.loss_scaler import LossScaler
from maetool.engine.optim.steps import Outcome, settle
from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.engine.repeat import RepeatedStep
from maetool.errors import UsageError
from maetool.models import parts_after_step
from maetool.ops import device
from maetool.testing import tiny_model
from maetool.testing.waits import WaitCounter

FUSED = ["optim_wrapper.optimizer.fused=True", "default_hooks.checkpoint.every_n_iters=0"]
LATE = [*FUSED, "optim_wrapper.deferred=True", "default_hooks.runtime_info={'type': 'ScalarsHook', 'read_every': 4}"]


def wrapper_of(deferred, accumulative_counts=1, kind=torch.optim.AdamW, scale=None, clip=1.0):
    """Return a wrapper, whose loss is scaled as that of float16 on CUDA is if there is a scale, and its parameter."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    options = {LARS: {}, torch.optim.SGD: {"fused": True, "momentum": 0.9}}.get(kind, {"fused": True})
    optimizer = kind([weight], lr=0.1, **options)
    clip_grad = {"max_norm": clip} if clip else None
    wrapper = AutocastOptimWrapper(optimizer, "float32", accumulative_counts, clip_grad=clip_grad, deferred=deferred)
    if scale:
        wrapper.loss_scaler = LossScaler("cpu", init_scale=scale, growth_interval=2)
    wrapper.initialize_count_status(nn.Identity(), 0, 12)
    return wrapper, weight


def train(wrapper, weight, factors):
    """Return the reports on the iterations, in their order."""
    reports = []

    def note(*_):
        reports.append((wrapper.fault, wrapper.skipping, wrapper.skipped, wrapper.skipped_in_a_row))

    wrapper.on_report = note
    for factor in factors:
        wrapper.update_params((weight * torch.tensor([3.0, 4.0]) * factor).sum())
        if not wrapper.deferred:
            note()
    settle(wrapper)
    return reports


OVERFLOWS = 2e37  # the norm of these gradients does, and of a scale of 16 they themselves
FACTORS = [math.inf, 1.0, OVERFLOWS, 2.0, 1.0, 0.5, math.nan, 1.0, math.inf, 1.0, 1.0, -math.inf]


@pytest.mark.parametrize("scale", [None, 16.0, 2.0])  # the last falls below 1
@pytest.mark.parametrize("counts", [1, 2, 3])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, LARS])
def test_late_steps_are_those_that_wait(counts, kind, scale):
    (wrapper, weight), (late, other) = wrapper_of(False, counts, kind, scale), wrapper_of(True, counts, kind, scale)
    assert train(wrapper, weight, FACTORS) == train(late, other, FACTORS)
    assert torch.equal(weight, other) and not wrapper.deferred and late.deferred and wrapper.skipped >= 3
    assert_same(wrapper.state_dict(), late.state_dict())


@pytest.mark.parametrize(("place", "scale"), [(1, None), (4, None), (7, None), (1, 16.0), (4, 16.0), (7, 16.0)])
def test_a_resume_in_the_midst_of_accumulation(place, scale):
    (late, weight), (again, other) = wrapper_of(True, 3, scale=scale), wrapper_of(True, 3, scale=scale and 4096.0)
    train(late, weight, FACTORS[:place])
    state = deepcopy(late.state_dict())
    with torch.no_grad():
        other.copy_(weight)
    again.load_state_dict(state)
    again.initialize_count_status(nn.Identity(), place, 12)
    train(again, other, FACTORS[place:])
    train(late, weight, FACTORS[place:])
    assert torch.equal(weight, other) and late.skipped == again.skipped > 0
    assert late.loss_scaler.state_dict() == again.loss_scaler.state_dict()


def test_several_optimizers_skip_together():
    pairs = [wrapper_of(True, kind=kind) for kind in (torch.optim.AdamW, torch.optim.SGD)]
    together = AutocastOptimWrapperDict({"one": pairs[0][0], "other": pairs[1][0]})
    before = [weight.detach().clone() for _, weight in pairs]
    together.update_params((pairs[0][1] * math.inf).sum() + pairs[1][1].sum())
    assert all(torch.equal(weight, old) for (_, weight), old in zip(pairs, before, strict=True))
    settle(together)
    assert all(wrapper.skipped == 1 and "the loss is" in wrapper.fault for wrapper, _ in pairs)
    together.update_params(pairs[0][1].sum() + pairs[1][1].sum())
    assert not any(torch.equal(weight, old) for (_, weight), old in zip(pairs, before, strict=True))


@pytest.mark.parametrize("scale", [None, 4.0])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, LARS])
@pytest.mark.parametrize("deferred", [True, False])
def test_nothing_is_read_before_the_optimiser(monkeypatch, deferred, kind, scale):
    """Fake tensors have no numbers to read; what is read of the iteration before is on its way since then."""
    monkeypatch.setattr(Outcome, "read", lambda self: [1.0, 1.0, 0.0, 0.0])
    with FakeTensorMode(), WaitCounter() as counter:
        wrapper, weight = wrapper_of(deferred, kind=kind, scale=scale)
        with nullcontext() if deferred else pytest.raises(DataDependentOutputException):
            for _ in range(3):
                wrapper.update_params((weight * 2).sum())
    assert len(counter.waits) == (not deferred)


def test_what_cannot_be_late():
    plain = torch.optim.AdamW([nn.Parameter(torch.ones(2))], fused=False)
    assert not can_skip(plain) and not can_skip(torch.optim.Adagrad([nn.Parameter(torch.ones(2))]))
    assert not can_skip(torch.optim.SGD([nn.Parameter(torch.ones(2))], momentum=0.9, dampening=0.5))
    wrapper = AutocastOptimWrapper(plain, "float32", deferred=True)
    with pytest.raises(UsageError, match=r"optim_wrapper\.deferred=True needs an optimiser that can leave out a step"):
        wrapper.update_params(wrapper.parameters[0].sum())
    automatic = AutocastOptimWrapper(torch.optim.AdamW([nn.Parameter(torch.ones(2))]), "float32")
    automatic.update_params(automatic.parameters[0].sum())
    assert not automatic.deferred  # on a CPU reading waits for nobody
    assert automatic.optimizer.param_groups[0]["fused"] is None


def test_an_accelerator_is_late_by_itself(monkeypatch):
    monkeypatch.setattr(device, "reading_is_free", lambda x: False)
    wrapper = AutocastOptimWrapper(torch.optim.AdamW([nn.Parameter(torch.ones(2))]), "float32")
    wrapper.update_params(wrapper.parameters[0].sum())
    assert wrapper.deferred and wrapper.optimizer.param_groups[0]["fused"] is True


def test_a_run_of_another_device_goes_on():
    """Its optimiser was not fused, and its step counts lay on the CPU."""
    first, weight = torch.optim.AdamW([nn.Parameter(torch.ones(2))]), None
    before = AutocastOptimWrapper(first, "float32")
    for _ in range(2):
        before.update_params((before.parameters[0] ** 2).sum())
    wrapper, weight = wrapper_of(True)
    wrapper.update_params(weight.sum())
    wrapper.load_state_dict(before.state_dict())
    wrapper.update_params(weight.sum())
    assert wrapper.optimizer.state[weight]["step"] == 3 and wrapper.optimizer.param_groups[0]["fused"] is True


class Spoiling(nn.BatchNorm1d):
    """A part with parameters that learn and buffers of whole numbers, which become something else with every step."""

    def after_step(self, model, progress):
        for value in (*self.parameters(), *self.buffers()):
            value.fill_(7 if progress or not value.is_floating_point() else torch.nan)


class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.__name__.partition(".")[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("skipped", [None, True, False])
def test_a_teacher_follows_no_skipped_step(skipped):
    model = tiny_model(teacher={"type": "MomentumTeacher", "momentum": 0.5})
    model.start()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(1.0)
    wanted = deepcopy(model)
    parts_after_step(wanted, 0.5)
    wanted = model.teacher if skipped else wanted.teacher
    wanted = {name: value.clone() for name, value in wanted.state_dict().items()}
    with Operations() as operations:
        parts_after_step(model, 0.5, None if skipped is None else torch.tensor(skipped))
    assert_same(model.teacher.state_dict(), wanted)
    assert not {"copy_", "clone"} & set(operations.names), "a kernel for every tensor"


@pytest.mark.parametrize(("progress", "skipped"), [(0.5, True), (0.5, False), (0.0, True)])
def test_tensors_of_any_part_stay_after_a_skipped_step(progress, skipped):
    part = Spoiling(2)
    before = deepcopy(part.state_dict())
    parts_after_step(nn.Sequential(part), progress, torch.tensor(skipped))
    assert_same(part.state_dict(), before if skipped else {k: torch.full_like(v, 7) for k, v in before.items()})


def test_runs_are_the_same_and_tell_the_same(repository, tmp_path):
    spoilt = (2, 5, 6)
    _, weights = run(repository, tmp_path / "waits", *spoilt, options=FUSED)
    runner, late = run(repository, tmp_path / "late", *spoilt, options=LATE)
    assert runner.optim_wrapper.deferred and runner.optim_wrapper.skipped == 3
    assert all(torch.equal(*pair) for pair in zip(weights, late, strict=True))
    folders = [tmp_path / name for name in ("waits", "late")]
    assert_same(*(final_state(folder) for folder in folders))
    files, logs = [], []
    for folder in folders:
        files.append({path.name: path for path in (folder / "broken_steps").iterdir()})
        text = next(folder.glob("*/*.log")).read_text()
        logs.append([line.split("skipped: ")[1].split(". To")[0] for line in text.splitlines() if "skipped: " in line])
    assert logs[0] == logs[1] and len(logs[0]) == 3 and files[0].keys() == files[1].keys()
    steps = [RepeatedStep(str(each["iter_5_process_0.pth"])) for each in files]
    assert_same(*(step.model.state_dict() for step in steps))
    assert_same(*(step.plan for step in steps))
    for name in ("train/loss", "train/grad_norm"):
        values, _ = runner.message_hub.get_scalar(name).data
        assert len(values) == 9 and all(map(math.isfinite, values))


def test_a_late_run_ends_after_too_many(repository, tmp_path):
    options = [*LATE, "custom_hooks.3.max_in_a_row=3"]
    with pytest.raises(UsageError, match=r"3 steps in a row .*smaller\s+base_lr.*maetool repeat_step .*iter_8_"):
        run(repository, tmp_path, 6, 7, 8, 9, options=options)


def test_scalars_of_several_iterations_are_read_at_once(monkeypatch):
    monkeypatch.setattr("maetool.engine.hooks.scalars.reading_is_free", lambda x: False)
    several = [{"loss": torch.tensor(1.5), "share": 0.25}, {"loss": torch.tensor([2.0, 3.0])}]
    assert _read(several) == [{"loss": 1.5, "share": 0.25}, {"loss": 2.5}]
    assert MessageHub.get_current_instance() is not None


LOGGED = ["default_hooks.logger.interval=5", "default_hooks.checkpoint.every_n_iters=0"]


def test_logged_numbers_of_reports_alone_are_those_of_every_step(repository, tmp_path):
    hook = "default_hooks.runtime_info={'type': 'ScalarsHook', 'logged_only': '%s'}"
    runs = {
        choice: run(repository, tmp_path / choice, 7, options=[*LOGGED, hook % choice])
        for choice in ("always", "reports")
    }
    assert_same(*(weights for _, weights in runs.values()))
    histories = [runner.message_hub.log_scalars for runner, _ in runs.values()]
    assert_same(*([list(each.data[0]) for each in (h["train/loss"], h["train/grad_norm"])] for h in histories))
    (full, ones), (few, counts) = (history["train/constant_predictor"].data for history in histories)
    assert ones.tolist() == [1] * 11  # without the broken one, which is the seventh
    assert counts.tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1]
    assert few[counts > 0].tolist() == full[counts > 0].tolist()
    assert histories[1]["train/constant_predictor"].mean(2) == full[-1]  # as a report over two iterations has it


def test_a_resume_between_two_reports_keeps_their_places(repository, tmp_path):
    options = ["default_hooks.logger.interval=5"]
    options += ["default_hooks.runtime_info={'type': 'ScalarsHook', 'logged_only': 'reports'}"]
    run(repository, tmp_path, stop=7, options=options)
    runner, _ = run(repository, tmp_path, resume=True, options=options)
    counts = runner.message_hub.get_scalar("train/constant_predictor").data[1]
    assert counts.nonzero()[0].tolist() == [0, 4, 9, 11]


@pytest.mark.parametrize("choice", [None, "always", "reports"])
def test_accelerators_compute_logged_numbers_for_reports(choice, monkeypatch):
    log, other = LogHook(interval=4), LoggerHook(interval=4)

    def needed(free, *hooks):
        monkeypatch.setattr("maetool.engine.hooks.scalars.reading_is_free", lambda x: free)
        runners = [
            SimpleNamespace(
                hooks=[ScalarsHook(logged_only=choice), *hooks], iter=i, max_iters=10, model=nn.Linear(1, 1)
            )
            for i in range(10)
        ]
        return [runner.iter for runner in runners if needs_logged_values(runner)]

    of_reports = [0, 3, 7, 9]
    assert needed(False, log) == (list(range(10)) if choice == "always" else of_reports)
    assert needed(True, log) == (of_reports if choice == "reports" else list(range(10)))
    assert needed(False, log, other) == list(range(10))  # nobody knows when a hook of others reports
    with pytest.raises(UsageError, match="logged_only is 'never', but must be"):
        ScalarsHook(logged_only="never")
