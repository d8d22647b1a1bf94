"""What a user of MMEngine writes works under maetool's runner, or is refused in one sentence."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.optim import _ParamScheduler
from mmengine.runner import Runner

from maetool.cli import StoppedError, run
from maetool.config.debug import shrink
from maetool.config.load import load_config
from maetool.engine import launch
from maetool.errors import UsageError
from maetool.evaluation.evaluator import build_evaluator, compute
from maetool.registry import HOOKS as HOOK_PARTS
from maetool.registry import METRICS, PARAM_SCHEDULERS
from maetool.weights.read import read_checkpoint
from maetool.weights.work_dir import checkpoints_in

sys.path.insert(0, str(Path(__file__).parent.parent / "test_engine"))
from runs import Signal, StopAt, assert_same

MAE = "configs/mae/vit-t_shapes.py"
ITERS, IMAGES = 4, 16  # an epoch of the runs here


class Record(Hook):
    """Writes down indices and keys of the samples of each iteration, and the number of iterations at validations."""

    def __init__(self):
        self.samples, self.validations, self.rates = [], [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.samples += zip(data_batch["index"].tolist(), data_batch["key"].tolist(), strict=True)
        self.rates.append(runner.optim_wrapper.get_lr()["lr"][0])

    def before_val(self, runner):
        self.validations.append(runner.iter)

    def epochs(self):
        return [self.samples[start : start + IMAGES] for start in range(0, len(self.samples), IMAGES)]


@METRICS.register_module()
class CountedImages(BaseMetric):
    """Counts images and looks at what it is given."""

    default_prefix = "counted"

    def process(self, data_batch, data_samples):
        assert len(data_batch["index"]) == len(data_samples)
        self.results += [self.size(sample) for sample in data_samples]

    @staticmethod
    def size(sample):
        if isinstance(sample, dict):
            return float(sum(value.numel() for value in sample.values()))
        return float(sample.numel())

    def compute_metrics(self, results):
        return {"images": float(len(results)), "numbers": max(results)}


@METRICS.register_module()
class Downhill(BaseMetric):
    """A metric of a plugin that falls by one with each validation."""

    default_prefix = "plugin"
    calls = 0

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        Downhill.calls += 1
        return {"score": 10.0 - Downhill.calls}


def build(repository, work_dir, config=MAE, resume=False, hooks=(), **changes):
    """Return a runner of 3 epochs of 4 iterations, validated never, with top-level keys of the config replaced."""
    cfg = load_config(repository / config)
    shrink(cfg)
    cfg.val_dataloader.num_workers = 0
    if cfg.train_dataloader:
        cfg.train_dataloader.dataset.num_samples, cfg.train_dataloader.num_workers = IMAGES, 0
        cfg.train_cfg = {"type": "ResumableTrainLoop", "max_epochs": 3, "val_interval": 100}
    cfg.custom_hooks = [{"type": "NonFiniteHook"}]
    cfg.log_to = []
    cfg.work_dir, cfg.resume = str(work_dir), resume
    for key, value in changes.items():
        if isinstance(value, dict):
            value = {**value} if value.get("_replace_") else {**(cfg.get(key) or {}), **value}
            value.pop("_replace_", None)
        cfg[key] = value
    runner = launch.build_runner(cfg)
    for hook in hooks:
        runner.register_hook(hook, "LOWEST")
    return runner


def new(**settings):
    return {"_replace_": True, **settings}


def trained(*args, **settings):
    record = Record()
    runner = build(*args, hooks=[record, *settings.pop("hooks", ())], **settings)
    runner.train()
    return runner, record


def weights(runner):
    return {name: value.clone() for name, value in runner.bare_model.state_dict().items()}


LOOPS = {
    "ours": new(type="ResumableTrainLoop", max_epochs=3, val_interval=100),
    "ours, iterations": new(type="ResumableTrainLoop", max_iters=12, val_interval=100),
    "no type": new(max_iters=12, val_interval=100),
    "EpochBasedTrainLoop": new(type="EpochBasedTrainLoop", max_epochs=3, val_interval=100),
    "IterBasedTrainLoop": new(type="IterBasedTrainLoop", max_iters=12, val_interval=100),
    "by_epoch=True": new(by_epoch=True, max_epochs=3, val_interval=100),
    "by_epoch=False": new(by_epoch=False, max_iters=12, val_interval=100),
}
SAMPLERS = ("KeyedSampler", "DefaultSampler", "InfiniteSampler")
PAIRS = [(loop, "KeyedSampler") for loop in LOOPS]
PAIRS += [(loop, s) for loop in ("ours", "EpochBasedTrainLoop", "IterBasedTrainLoop") for s in SAMPLERS[1:]]
# An epoch of an endless sampler never ends in MMEngine's loop of epochs.
PAIRS.remove(("EpochBasedTrainLoop", "InfiniteSampler"))


def loader_with(sampler, **more):
    return {"sampler": {"type": sampler, "shuffle": True}, **more}


@pytest.mark.parametrize(("loop", "sampler"), PAIRS)
def test_epochs_differ_and_a_resume_is_exact(repository, tmp_path, loop, sampler):
    settings = {"train_cfg": dict(LOOPS[loop]), "train_dataloader": loader_with(sampler)}
    settings["default_hooks"] = {"checkpoint": {"type": "SafeCheckpointHook", "every_n_iters": 1}}
    runner, record = trained(repository, tmp_path / "unbroken", **settings)
    assert runner.iter == 12
    epochs = record.epochs()
    assert [sorted(index for index, _ in epoch) for epoch in epochs] == [list(range(IMAGES))] * 3
    assert len({tuple(index for index, _ in epoch) for epoch in epochs}) == 3, "the order repeats"
    assert len({key for _, key in record.samples}) == 3 * IMAGES, "crops and masks repeat"

    settings["train_cfg"] = dict(LOOPS[loop])
    first = Record()
    stopped = build(repository, tmp_path / "broken", hooks=[first, StopAt(7)], **settings)
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    settings["train_cfg"] = dict(LOOPS[loop])
    resumed, rest = trained(repository, tmp_path / "broken", resume=True, **settings)
    assert first.samples + rest.samples == record.samples
    assert_same(weights(resumed), weights(runner))


def test_an_endless_sampler_in_a_loop_of_epochs_is_refused(repository, tmp_path):
    runner = build(
        repository, tmp_path, train_cfg=dict(LOOPS["EpochBasedTrainLoop"]), train_dataloader=loader_with(SAMPLERS[2])
    )
    with pytest.raises(UsageError, match="InfiniteSampler"):
        runner.train()


def test_a_loader_without_keys_gets_new_ones_in_each_pass(repository):
    from torch.utils.data import DataLoader

    from maetool.data import ShapesDataset

    data = ShapesDataset(8, img_size=16)
    for workers in (0, 1):
        loader = DataLoader(data, 4, num_workers=workers)
        first, second = ([int(key) for batch in loader for key in batch["key"]] for _ in range(2))
        assert len({*first, *second}) == 16
        torch.manual_seed(3)
        again = [int(key) for batch in loader for key in batch["key"]]
        torch.manual_seed(3)
        assert again == [int(key) for batch in loader for key in batch["key"]]
    assert data[3]["key"] == data[3]["key"]


def test_a_run_of_iterations(repository, tmp_path):
    settings = {"train_cfg": new(type="ResumableTrainLoop", max_iters=10, val_interval=4)}
    runner, record = trained(repository, tmp_path / "a", **settings)
    assert (runner.iter, runner.epoch, record.validations) == (10, 2, [4, 8, 10])
    path = checkpoints_in(tmp_path / "a")[0]
    assert path.name == "iter_10.pth"
    assert (read_checkpoint(path)["meta"]["epoch"], read_checkpoint(path)["meta"]["iter"]) == (2, 10)
    assert record.rates[-1] > 0
    final = runner.param_schedulers[0].at(10 / ITERS, 1.0)
    assert final == pytest.approx(0), "the schedule ends with the run"
    settings = {"train_cfg": new(type="ResumableTrainLoop", max_iters=12, val_interval=4)}
    runner, record = trained(repository, tmp_path / "a", resume=True, **settings)
    assert (len(record.samples), runner.iter, runner.epoch) == (8, 12, 3)


@pytest.mark.parametrize(
    ("train_cfg", "sentence"),
    [
        (new(max_iters=10, max_epochs=3), "both max_epochs=3 and max_iters=10"),
        (new(val_interval=1), "neither"),
        (new(max_iters=2.5), "max_iters is 2.5"),
        (new(max_epochs=-1), "max_epochs is -1"),
        (new(type="EpochBasedTrainLoop", max_epochs=3, max_hours=1.0), "no argument `max_hours`"),
    ],
)
def test_lengths_that_make_no_sense(repository, tmp_path, train_cfg, sentence):
    with pytest.raises(UsageError, match=re.escape(sentence)):
        build(repository, tmp_path, train_cfg=train_cfg).train()


@pytest.mark.parametrize("interval", [1, 100])
@pytest.mark.parametrize("loop", ["ours", "ours, iterations", "EpochBasedTrainLoop"])
def test_early_stopping(repository, tmp_path, loop, interval):
    stop = {"type": "EarlyStoppingHook", "monitor": "loss", "rule": "less", "min_delta": 1e6, "patience": 1}
    every = ITERS if "iterations" in loop else 1
    runner, record = trained(
        repository,
        tmp_path,
        train_cfg={**LOOPS[loop], "val_interval": every},
        custom_hooks=[stop],
        default_hooks={"checkpoint": {"type": "SafeCheckpointHook", "interval": interval}},
    )
    assert (runner.iter, record.validations, runner.stopped) == (8, [4, 8], "")
    assert read_checkpoint(checkpoints_in(tmp_path)[0])["meta"]["iter"] == 8


def scalars_of(work_dir):
    lines = [line for path in work_dir.glob("*/vis_data/scalars.json") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


VALIDATED = [
    "configs/mae/vit-t_shapes.py",
    "configs/knn/vit-t_shapes.py",
    "configs/finetune/vit-t_shapes.py",
    "configs/segmentation/upernet_vit-t_shapes.py",
    "configs/detection/vitdet_mask-rcnn_vit-t_shapes.py",
]
EVALUATORS = {
    "a config": {"type": "CountedImages"},
    "a list": [{"type": "CountedImages"}, {"type": "CountedImages", "prefix": "again"}],
    "metrics": {"type": "Evaluator", "metrics": [{"type": "CountedImages"}]},
}


@pytest.mark.parametrize("config", VALIDATED)
def test_metrics_run_in_each_validation_loop(repository, tmp_path, config):
    runner = build(repository, tmp_path, config=config, val_evaluator=EVALUATORS["a list"])
    metrics = runner.val()
    images = len(runner.val_dataloader.dataset)
    assert metrics["counted/images"] == metrics["again/images"] == images
    assert metrics["counted/numbers"] > 0
    assert any("/" not in name for name in metrics), "the metrics of the loop are there too"
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert f"counted/images {images}.0000" in log
    assert any(record.get("val/counted/images") == images for record in scalars_of(tmp_path))


@pytest.mark.parametrize("evaluator", EVALUATORS.values(), ids=list(EVALUATORS))
@pytest.mark.parametrize("val_cfg", [None, new(type="ValLoop"), new()])
def test_forms_of_an_evaluator(repository, tmp_path, evaluator, val_cfg):
    changes = {} if val_cfg is None else {"val_cfg": dict(val_cfg)}
    metrics = build(repository, tmp_path, val_evaluator=evaluator, **changes).val()
    assert metrics["counted/images"] > 0


@pytest.mark.parametrize("nothing", [None, []])
def test_no_evaluator(repository, tmp_path, nothing):
    metrics = build(repository, tmp_path, val_evaluator=nothing).val()
    assert "loss" in metrics
    assert not any("/" in name for name in metrics)


@pytest.mark.parametrize(
    ("evaluator", "sentence"),
    [
        ({"type": "CountedImage"}, "did you mean `CountedImages`"),
        ({"type": "CountedImages", "prefx": "a"}, "no argument `prefx`"),
        ([{"type": "CountedImages"}, {"type": "CountedImages"}], "already taken"),
        (["CountedImages"], "val_evaluator.0 is 'CountedImages', but must be a dict with the name of a part"),
    ],
)
def test_metrics_that_are_refused(repository, tmp_path, evaluator, sentence):
    with pytest.raises(UsageError, match=sentence):
        build(repository, tmp_path, val_evaluator=evaluator).val()


CHECKPOINTS = {
    "epochs": ({"interval": 1, "max_keep_ckpts": 1}, {"epoch_3.pth"}),
    "iterations": ({"interval": 5, "by_epoch": False, "save_last": True}, {"iter_5.pth", "iter_10.pth", "iter_12.pth"}),
    "best": ({"interval": 1, "max_keep_ckpts": 1, "save_best": "loss", "rule": "greater"}, {"epoch_3.pth"}),
    "auto": ({"interval": 1, "max_keep_ckpts": 1, "save_best": "auto"}, {"epoch_3.pth"}),
}


@pytest.mark.parametrize(("settings", "files"), CHECKPOINTS.values(), ids=list(CHECKPOINTS))
def test_checkpoint_hook_of_mmengine(repository, tmp_path, settings, files):
    hooks = {"checkpoint": {"type": "CheckpointHook", **settings}}
    changes = {"default_hooks": hooks, "train_cfg": {"val_interval": 1, "val_at_start": True}}
    runner, _ = trained(repository, tmp_path / "a", **changes)
    found = {path.name for path in (tmp_path / "a").glob("*.pth")}
    assert {name for name in found if not name.startswith("best")} == files
    assert len(found - files) == ("save_best" in settings)
    for path in (tmp_path / "a").glob("*.pth"):
        torch.load(path, weights_only=True)
    broken = build(repository, tmp_path / "b", hooks=[StopAt(11)], **changes)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    resumed, record = trained(repository, tmp_path / "b", resume=True, **changes)
    assert len(record.samples) < 12 * 4, "it began anew"
    assert_same(weights(resumed), weights(runner))
    best = [path.name for path in (tmp_path / "a").glob("best*")]
    assert [path.name for path in (tmp_path / "b").glob("best*")] == best


def test_published_keys(repository, tmp_path):
    hook = {"type": "CheckpointHook", "interval": 1, "published_keys": ["meta", "state_dict"]}
    trained(repository, tmp_path, default_hooks={"checkpoint": hook})
    published = next(tmp_path.glob("epoch_3-*.pth"))
    assert set(torch.load(published, weights_only=True)) >= {"meta", "state_dict"}
    assert "optimizer" not in torch.load(published, weights_only=True)
    runner, record = trained(repository, tmp_path, resume=True, train_cfg={"max_epochs": 4})
    assert (runner.iter, len(record.samples)) == (16, IMAGES)


@pytest.mark.parametrize(
    ("save_best", "rule", "epoch"), [("loss", None, None), ("plugin/score", "greater", 1), ("plugin/score", "less", 3)]
)
def test_the_best_checkpoint(repository, tmp_path, save_best, rule, epoch):
    Downhill.calls = 0
    changes = {"train_cfg": {"val_interval": 1}, "val_evaluator": {"type": "Downhill"}}
    hook = {"type": "SafeCheckpointHook", "save_best": save_best, "rule": rule}
    runner, _ = trained(repository, tmp_path, default_hooks={"checkpoint": hook}, **changes)
    (best,) = tmp_path.glob("best_*.pth")
    state = read_checkpoint(best)
    assert "optimizer" not in state
    values = {record["step"]: record[f"val/{save_best}"] for record in scalars_of(tmp_path) if "val/loss" in record}
    expected = max(values, key=values.get) if rule == "greater" else min(values, key=values.get)
    assert state["meta"]["iter"] == expected
    assert epoch in (None, expected // ITERS)
    assert best.name == f"best_{save_best.replace('/', '_')}_epoch_{expected // ITERS}.pth"
    assert runner.message_hub.get_info("best_score") == pytest.approx(values[expected])
    assert checkpoints_in(tmp_path)[0].name == "epoch_3.pth", "a resume takes the last one"


@pytest.mark.parametrize(
    ("hook", "sentence"),
    [
        ({"type": "SafeCheckpointHook", "save_best": "plugin/score"}, "has no rule of what is better"),
        ({"type": "SafeCheckpointHook", "save_best": "accuracy"}, "the validation has the metrics loss"),
        ({"type": "SafeCheckpointHook", "save_best": "loss", "rule": "lower"}, 'must be "greater" or "less"'),
        ({"type": "CheckpointHook", "save_best": 3}, "save_best"),
        ({"type": "CheckpointHook", "interval": 1, "out_dir": "s3://bucket"}, "local disk"),
        ({"type": "CheckpointHook", "interval": 1, "out_dir": "elsewhere"}, "out_dir='elsewhere'"),
        ({"type": "CheckpointHook", "interval": 1, "keep": 2}, "no argument `keep`"),
    ],
)
def test_checkpoint_hooks_that_are_refused(repository, tmp_path, hook, sentence):
    with pytest.raises(UsageError, match=sentence):
        build(
            repository,
            tmp_path,
            default_hooks={"checkpoint": hook},
            val_evaluator={"type": "Downhill"},
            train_cfg={"val_interval": 1},
        ).train()


def test_no_default_hooks(repository, tmp_path):
    runner, _ = trained(repository, tmp_path, default_hooks=None, train_cfg={"val_interval": 1})
    names = {type(hook).__name__ for hook in runner.hooks}
    assert {"CheckpointHook", "LoggerHook", "ParamSchedulerHook", "TeacherHook", "MaskerProgressHook"} <= names
    assert (tmp_path / "epoch_3.pth").is_file()


@pytest.mark.parametrize("hooks", [None, {"teacher": None}])
def test_a_teacher_follows_whatever_hooks_are_listed(repository, tmp_path, hooks):
    path = tmp_path / "averaged.py"
    target = 'dict(_delete_=True, type="MomentumFeatureTarget", momentum=0.5)'
    path.write_text(f'_base_ = "{repository}/configs/maskdistill/vit-t_shapes.py"\nmodel = dict(target={target})\n')
    runner = build(repository, tmp_path, config=path, default_hooks=hooks, custom_hooks=[])
    before = {name: value.clone() for name, value in runner.bare_model.target.teacher.state_dict().items()}
    runner.train()
    after = runner.bare_model.target.teacher.state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize(
    ("checkpoint", "code", "words"),
    [
        ({"type": "SafeCheckpointHook"}, 75, "is saved as iter_3.pth"),
        ({"type": "CheckpointHook", "interval": 1}, 75, "is saved as iter_3.pth"),
        (None, 143, "is not saved"),
    ],
)
def test_a_stop_says_what_is_saved(repository, tmp_path, capsys, checkpoint, code, words):
    runner = build(repository, tmp_path, hooks=[Signal(3, signal.SIGTERM)], default_hooks={"checkpoint": checkpoint})

    def main():
        runner.train()
        raise StoppedError(runner.stopped, runner.saved_on_stop)

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == code
    said = capsys.readouterr().err
    assert words in said
    assert ("--resume continues from here" in said) == (code == 75)
    assert bool(list(tmp_path.glob("*.pth"))) == (code == 75)


class SignalInLastValidation(Hook):
    """Sends a signal while the last validation runs."""

    def before_val(self, runner):
        if runner.iter == runner.max_iters:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("loop", ["ours", "ours, iterations"])
def test_a_signal_in_the_last_validation_leaves_that_to_a_resume(repository, tmp_path, loop):
    runner = build(repository, tmp_path, hooks=[SignalInLastValidation()], train_cfg=dict(LOOPS[loop]))
    runner.train()
    assert (runner.iter, runner.stopped[:37]) == (12, "asked to by SIGTERM during validation")
    assert checkpoints_in(tmp_path)[0].name == "iter_12.pth"
    runner, record = trained(repository, tmp_path, resume=True, train_cfg=dict(LOOPS[loop]))
    assert (runner.iter, runner.stopped, record.validations) == (12, "", [12])
    assert (tmp_path / "epoch_3.pth").exists()


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("kind", [None, "OptimWrapper"])
def test_optim_wrapper_of_mmengine(repository, tmp_path, kind, accumulation):
    wrapper = new(optimizer={"type": "AdamW"}, accumulative_counts=accumulation, clip_grad={"max_norm": 1.0})
    if kind:
        wrapper["type"] = kind
    runner, record = trained(repository, tmp_path, optim_wrapper=wrapper)
    assert type(runner.optim_wrapper).__name__ == "OptimWrapper"
    lines = [entry for entry in scalars_of(tmp_path) if "skipped_steps" in entry]
    assert lines
    assert all(entry["skipped_steps"] == 0 for entry in lines)
    assert record.rates[-1] != record.rates[1]


@pytest.mark.parametrize(
    ("wrapper", "words"),
    [
        ({"type": "OptimWrapper"}, "OptimWrapper does not skip such steps: use optim_wrapper.type=Autocast"),
        (
            {"type": "AutocastOptimWrapper", "guard": False},
            "AutocastOptimWrapper with guard=False does .*: use optim_wrapper.guard=True",
        ),
    ],
)
def test_a_loss_that_is_not_finite_ends_a_run_whose_wrapper_has_no_guard(repository, tmp_path, wrapper, words):
    runner = build(repository, tmp_path, optim_wrapper=new(**wrapper, optimizer={"type": "SGD"}), base_lr=1e30)
    with pytest.raises(UsageError, match=words):
        runner.train()


def test_mixed_precision_of_mmengine_on_a_cpu(repository, tmp_path, monkeypatch):
    wrapper = new(type="AmpOptimWrapper", dtype="bfloat16", optimizer={"type": "AdamW"})
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="AutocastOptimWrapper trains in"):
            build(repository, tmp_path / "a", optim_wrapper=dict(wrapper)).train()
    monkeypatch.setattr("mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available", lambda: True)
    wrapper["loss_scale"] = {"device": "cpu", "init_scale": 64.0, "growth_interval": 3}
    settings = {"optim_wrapper": wrapper}
    settings["default_hooks"] = {"checkpoint": {"type": "SafeCheckpointHook", "every_n_iters": 1}}
    runner, _ = trained(repository, tmp_path / "b", **settings)
    state = read_checkpoint(tmp_path / "b" / "epoch_3.pth")["optimizer"]["loss_scaler"]
    assert state["scale"] == runner.optim_wrapper.loss_scaler.get_scale() == 64 * 2**4
    broken = build(repository, tmp_path / "c", hooks=[StopAt(7)], **settings)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    resumed, _ = trained(repository, tmp_path / "c", resume=True, **settings)
    assert resumed.optim_wrapper.loss_scaler.get_scale() == 64 * 2**4
    assert_same(weights(resumed), weights(runner))


SCHEDULES = {  # config to the rate at the first iteration of the second epoch, as a share of the base rate
    "dict": ({"type": "LinearLR", "start_factor": 0.5, "end": 3}, 0.75),
    "list": ([{"type": "LinearLR", "start_factor": 0.5, "end": 3}], 0.75),
    "by iterations": ({"type": "LinearLR", "start_factor": 0.5, "by_epoch": False, "end": 9}, 0.75),
    "converted": ({"type": "LinearLR", "start_factor": 0.5, "end": 2, "convert_to_iter_based": True}, None),
    "cosine": ({"type": "CosineAnnealingLR", "T_max": 2}, 0.5),
    "cosine of iterations": ({"type": "CosineAnnealingLR", "T_max": 8, "by_epoch": False}, 0.5),
    "two": ([{"type": "LinearLR", "start_factor": 0.5, "end": 3}, {"type": "MultiStepLR", "milestones": [1]}], 0.075),
    "none": (None, 1.0),
}


@pytest.mark.parametrize(("schedule", "share"), SCHEDULES.values(), ids=list(SCHEDULES))
def test_schedules_of_mmengine(repository, tmp_path, schedule, share):
    schedule = new(**schedule) if isinstance(schedule, dict) else schedule
    settings = {"param_scheduler": schedule, "base_lr": None}
    wrapper = {"optimizer": {"type": "SGD", "lr": 0.1}, "constructor": "DefaultOptimWrapperConstructor"}
    settings["optim_wrapper"] = new(type="OptimWrapper", **wrapper)
    _, record = trained(repository, tmp_path / "a", **settings)
    if share is not None:
        assert record.rates[ITERS] == pytest.approx(0.1 * share, rel=1e-3)
    broken = build(repository, tmp_path / "b", hooks=[StopAt(10)], **settings)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    _, rest = trained(repository, tmp_path / "b", resume=True, **settings)
    assert rest.rates == record.rates[-len(rest.rates) :]


def test_another_number_of_schedules_on_resume(repository, tmp_path):
    """The rates from there on are those of a run that had the new schedules from its first step."""
    schedules = [{"type": "LinearLR", "end": 2}, {"type": "ConstantLR", "factor": 0.5, "begin": 2, "end": 9}]
    _, expected = trained(repository, tmp_path / "a", param_scheduler=schedules)
    broken = build(repository, tmp_path / "b", hooks=[StopAt(6)])
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    _, rest = trained(repository, tmp_path / "b", resume=True, param_scheduler=schedules)
    assert rest.rates == pytest.approx(expected.rates[-len(rest.rates) :])


def test_a_schedule_of_epochs_in_a_loop_without_them(repository, tmp_path):
    with pytest.raises(UsageError, match="LinearLR in param_scheduler counts epochs"):
        build(
            repository, tmp_path, train_cfg=dict(LOOPS["IterBasedTrainLoop"]), param_scheduler=[{"type": "LinearLR"}]
        ).train()


@pytest.mark.parametrize("test_cfg", [new(), new(type="TestLoop"), new(type="PretrainValLoop")])
def test_testing(repository, tmp_path, test_cfg):
    cfg = load_config(repository / MAE)
    shrink(cfg)
    runner = build(
        repository,
        tmp_path,
        test_dataloader=dict(cfg.val_dataloader),
        test_cfg={k: v for k, v in test_cfg.items() if k != "_replace_"},
        test_evaluator={"type": "CountedImages"},
    )
    metrics = runner.test()
    assert metrics["counted/images"] == len(runner.test_dataloader.dataset)
    assert ("loss" in metrics) == (test_cfg.get("type") == "PretrainValLoop")
    assert any("test/counted/images" in record for record in scalars_of(tmp_path))


def test_loops_of_ours_under_the_runner_of_mmengine(repository, tmp_path):
    cfg = build(repository, tmp_path).cfg
    cfg.experiment_name = "another"
    runner = Runner.from_cfg(cfg)
    with pytest.raises(UsageError, match="ResumableTrainLoop runs under MaetoolRunner"):
        runner.train()


HOOKS = {
    "EMAHook": [{"type": "EMAHook", "momentum": 0.5}],
    "those that change no weights": [
        {"type": "SyncBuffersHook"},
        {"type": "EmptyCacheHook", "after_epoch": True},
        {"type": "IterTimerHook"},
        {"type": "DistSamplerSeedHook"},
        {"type": "LoggerHook", "interval": 2},
    ],
}


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_of_mmengine(repository, tmp_path, hook):
    settings = {"custom_hooks": HOOKS[hook], "train_cfg": {"val_interval": 1}}
    runner, record = trained(repository, tmp_path / "a", **settings)
    broken = build(repository, tmp_path / "b", hooks=[StopAt(10)], **settings)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    resumed, _ = trained(repository, tmp_path / "b", resume=True, **settings)
    assert {type(each).__name__ for each in resumed.hooks} >= {each["type"] for each in HOOKS[hook]}
    assert_same(weights(resumed), weights(runner))
    assert len({key for _, key in record.samples}) == 3 * IMAGES
    if hook == "EMAHook":
        states = [read_checkpoint(tmp_path / run / "epoch_3.pth") for run in "ab"]
        assert_same(states[0]["state_dict"], states[1]["state_dict"])
        assert_same(states[0]["ema_state_dict"], states[1]["ema_state_dict"])
        name = "encoder.norm.weight"
        assert not torch.equal(states[0]["state_dict"][name], weights(runner)[name]), "the averaged weights are saved"
        validated = [record["val/loss"] for record in scalars_of(tmp_path / "a") if "val/loss" in record]
        checked = build(repository, tmp_path / "c", load_from=str(tmp_path / "a" / "epoch_3.pth")).val()
        assert checked["loss"] == pytest.approx(validated[-1], rel=1e-5), "validation sees the averaged weights"


@pytest.mark.parametrize("left_out", ["timer", "logger", "checkpoint", "sampler_seed", "teacher"])
def test_hooks_may_be_left_out(repository, tmp_path, left_out):
    hooks = {left_out: None} | ({"logger": {"type": "LogHook", "interval": 1}} if left_out != "logger" else {})
    custom = [{"type": "DataWaitHook", "window": 2}, {"type": "LossCurveHook"}]
    runner, _ = trained(repository, tmp_path, default_hooks=hooks, custom_hooks=custom)
    assert runner.iter == 12


def test_a_log_processor_and_a_visualizer_of_mmengine(repository, tmp_path):
    runner, _ = trained(
        repository,
        tmp_path,
        log_processor=new(type="LogProcessor", window_size=2, by_epoch=True),
        visualizer={"type": "Visualizer", "vis_backends": []},
        custom_hooks=[{"type": "LossCurveHook"}],
        train_cfg={"val_interval": 1},
    )
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert "Epoch(train)" in log
    assert log.count("There is no loss curve") == 1
    assert not (tmp_path / "loss_curve.png").exists()
    assert runner.iter == 12


@pytest.mark.parametrize(
    ("loader", "sentence"),
    [
        ({"sampler": None}, "has no sampler"),
        ({"batch_sampler": {"type": "BatchSampler"}}, "batch_sampler"),
        ({"sampler": {"type": "DefautSampler"}}, "no data_sampler called `DefautSampler`"),
    ],
)
def test_loaders_that_are_refused(repository, tmp_path, loader, sentence):
    with pytest.raises(UsageError, match=sentence):
        build(repository, tmp_path, train_dataloader=loader).train()


def test_a_cut_epoch(repository, tmp_path):
    _, record = trained(repository, tmp_path, train_dataloader={"num_batch_per_epoch": 2})
    assert {index for index, _ in record.samples} == set(range(8))
    assert len({key for _, key in record.samples}) == 24


def test_all_results_count_where_processes_have_unequal_shares(monkeypatch):
    evaluator = build_evaluator({"type": "CountedImages"})
    evaluator.metrics[0].results = [1.0, 3.0, 5.0]
    monkeypatch.setattr("maetool.evaluation.evaluator.get_world_size", lambda: 2)
    monkeypatch.setattr("maetool.evaluation.evaluator.all_gather_object", lambda own: [list(own), [2.0, 7.0]])
    assert compute(evaluator, 5, {"loss": 1.0}) == {"loss": 1.0, "counted/images": 5.0, "counted/numbers": 7.0}
    evaluator.metrics[0].results = [1.0, 3.0, 5.0]  # a sampler that fills up repeats its first images at the end
    assert compute(evaluator, 4, {})["counted/images"] == 4.0
    assert evaluator.metrics[0].results == []


@pytest.mark.parametrize("randomness", [new(), new(seed=None)])
def test_a_run_without_a_seed_goes_on_with_that_of_its_checkpoint(repository, tmp_path, randomness):
    settings = {"default_hooks": {"checkpoint": {"type": "SafeCheckpointHook", "every_n_iters": 1}}}
    broken = build(repository, tmp_path / "b", hooks=[StopAt(7)], randomness=randomness, **settings)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    resumed, rest = trained(repository, tmp_path / "b", resume=True, randomness=randomness, **settings)
    assert resumed.seed == broken.seed
    unbroken, record = trained(repository, tmp_path / "a", randomness=new(seed=broken.seed), **settings)
    assert rest.samples == record.samples[-len(rest.samples) :]
    assert_same(weights(resumed), weights(unbroken))


@PARAM_SCHEDULERS.register_module()
class CountingLR(_ParamScheduler):
    """A schedule of a plugin with state of its own: each step takes a tenth more than the one before."""

    def __init__(self, optimizer, gain=0.1, **settings):
        self._steps_made, self._gain, self.shape = 0, gain, lambda step: 1 + self._gain * step
        super().__init__(optimizer, "lr", **settings)

    def _get_value(self):
        self._steps_made += 1
        return [base * self.shape(self._steps_made) for base in self.base_values]


MOVING_SCHEDULES = {
    "plateau": {"type": "ReduceOnPlateauLR", "monitor": "plugin/score", "rule": "greater", "patience": 0},
    "one cycle": {"type": "OneCycleLR", "eta_max": 1e-2, "total_steps": 12, "by_epoch": False},
    "one cycle, three phases": {"type": "OneCycleLR", "eta_max": 0.01, "total_steps": 4, "three_phase": True},
    "a plugin's": {"type": "CountingLR", "by_epoch": False},
}


@pytest.mark.parametrize("schedule", MOVING_SCHEDULES.values(), ids=list(MOVING_SCHEDULES))
def test_schedules_whose_state_moves(repository, tmp_path, schedule):
    """They go on from a checkpoint of the same config; the metric of the plateau falls, so it lowers the rate."""
    settings = {
        "train_cfg": {"val_interval": 1},
        "val_evaluator": {"type": "Downhill"},
        "default_hooks": {"checkpoint": {"type": "SafeCheckpointHook", "every_n_iters": 1}},
        "base_lr": None,
        "optim_wrapper": new(type="OptimWrapper", optimizer={"type": "SGD", "lr": 0.1}),
        "param_scheduler": [schedule],
    }
    Downhill.calls = 0
    unbroken, record = trained(repository, tmp_path / "a", **settings)
    Downhill.calls = 0
    broken = build(repository, tmp_path / "b", hooks=[StopAt(10)], **settings)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    assert len(set(record.rates)) > 1
    resumed, rest = trained(repository, tmp_path / "b", resume=True, **settings)
    assert 0 < len(rest.rates) < 12
    assert rest.rates == record.rates[-len(rest.rates) :]
    assert_same(weights(resumed), weights(unbroken))
    if "monitor" in schedule:
        settings["param_scheduler"] = [{**schedule, "factor": 0.5}]
        with pytest.raises(UsageError, match="ReduceOnPlateau"):
            trained(repository, tmp_path / "b", resume=True, **settings)


@pytest.mark.parametrize("save_last", [True, False])
@pytest.mark.parametrize("loop", ["ours", "EpochBasedTrainLoop", "IterBasedTrainLoop"])
def test_early_stopping_with_the_checkpoint_hook_of_mmengine(repository, tmp_path, loop, save_last):
    stop = {"type": "EarlyStoppingHook", "monitor": "loss", "rule": "less", "min_delta": 1e6, "patience": 1}
    by_epoch = loop != "IterBasedTrainLoop"
    saving = {"type": "CheckpointHook", "interval": 100, "by_epoch": by_epoch, "save_last": save_last}
    settings = {"custom_hooks": [stop], "default_hooks": {"checkpoint": saving}, "param_scheduler": None}
    settings["train_cfg"] = {**LOOPS[loop], "val_interval": 1 if by_epoch else ITERS}
    runner, _ = trained(repository, tmp_path, **settings)
    assert runner.iter == 8
    found = checkpoints_in(tmp_path)
    assert [path.name for path in found] == (["epoch_2.pth" if by_epoch else "iter_8.pth"] if save_last else [])
    if save_last:
        assert read_checkpoint(found[0])["meta"]["iter"] == 8
        settings["train_cfg"] = dict(LOOPS[loop])
        assert len(trained(repository, tmp_path, resume=True, **settings)[1].samples) == 12 * 4 - 8 * 4


def test_the_checkpoint_hook_may_name_the_work_folder(repository, tmp_path):
    saving = {"type": "CheckpointHook", "interval": 1, "out_dir": f"{tmp_path}/."}
    trained(repository, tmp_path, default_hooks={"checkpoint": saving})
    assert checkpoints_in(tmp_path)[0].name == "epoch_3.pth"


def with_hook(**hook):
    return {"custom_hooks": [hook]}


REFUSED = {  # changes of a config to words of the sentence
    "an argument of EMAHook": (with_hook(type="EMAHook", momentumm=0.5), "EMAHook.*momentumm"),
    "a type in EMAHook": (with_hook(type="EMAHook", ema_type="Averaged"), "EMAHook.*Averaged"),
    "a value in EMAHook": (with_hook(type="EMAHook", momentum=2), "EMAHook.*momentum must be"),
    "no monitor": (with_hook(type="EarlyStoppingHook"), "EarlyStoppingHook.*monitor"),
    "priority": (with_hook(type="EmptyCacheHook", priority="LOWW"), "EmptyCacheHook.*LOWW"),
    "compile argument": ({"compile": new(mod="default")}, "compile .*mod"),
    "compile mode": ({"compile": new(mode="defalt")}, "compile .*defalt"),
    "worker_init_fn": ({"train_dataloader": {"worker_init_fn": {"type": "foo"}}}, "loader .*worker_init_fn"),
    "shuffle": ({"train_dataloader": {"shuffle": True}}, "loader .*shuffle"),
    "timeout": ({"train_dataloader": {"timeout": -1}}, "loader .*timeout"),
    "collate": ({"train_dataloader": {"collate_fn": {"type": "pseudo_collate"}}}, "list of images.*collate_fn"),
    "betas": ({"optim_wrapper": {"optimizer": {"type": "AdamW", "betas": (2, 3)}}}, "AdamW .*beta"),
    "decay": ({"optim_wrapper": {"optimizer": {"type": "AdamW", "weight_decay": -1}}}, "AdamW .*decay"),
    "momentum": ({"optim_wrapper": {"optimizer": {"type": "SGD", "momentum": -1}}}, "SGD .*momentum"),
    "schedule": ({"param_scheduler": [{"type": "MultiStepLR"}]}, "milestones"),
    "a value of a schedule": (
        {"param_scheduler": [{"type": "LinearLR", "start_factor": 7}]},
        "param_scheduler .*factor",
    ),
    "base batch": ({"base_lr": None, "auto_scale_lr": new(enable=True, base_batch_size=0)}, "base_batch_size is 0"),
    "no base batch": ({"base_lr": None, "auto_scale_lr": new(enable=True)}, "auto_scale_lr .*base_batch_size"),
    "start method": ({"env_cfg": new(mp_cfg={"mp_start_method": "frk"})}, "mp_start_method is 'frk'"),
    "torchrun": ({"launcher": "pytorch"}, "launcher=pytorch"),
    "mpirun": ({"launcher": "mpi"}, "launcher=mpi"),
    "batch normalisation": ({"efficient_conv_bn_eval": "encoder"}, "efficient_conv_bn_eval='encoder'"),
    "no such module": ({"efficient_conv_bn_eval": ["encodr"]}, "efficient_conv_bn_eval=.*encodr"),
    "decay of norms": (
        {
            "optim_wrapper": new(
                type="OptimWrapper", optimizer={"type": "Rprop"}, paramwise_cfg={"norm_decay_mult": 0.0}
            )
        },
        "optim_wrapper .*base_wd",
    ),
    "preprocessor": ({"model": {"data_preprocessor": None}}, 'add data_preprocessor=dict\\(type="ImagePreprocessor"'),
    "of MMEngine": (
        {"model": {"data_preprocessor": {"type": "ImgDataPreprocessor"}}},
        'add data_preprocessor=dict\\(type="ImagePreprocessor"',
    ),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=list(REFUSED))
def test_what_a_part_of_mmengine_or_torch_refuses_is_one_sentence(repository, tmp_path, changes, words):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "OMPI_COMM_WORLD_LOCAL_RANK"):
        assert name not in os.environ
    with pytest.raises(UsageError, match=words):
        build(repository, tmp_path, **changes).train()


@HOOK_PARTS.register_module()
class BrokenHook(Hook):
    def before_run(self, runner):
        raise RuntimeError("of a plugin")


def test_a_defect_of_maetool_is_no_refusal(repository, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"BrokenHook .*\(RuntimeError: of a plugin;") as refused:
        build(repository, tmp_path / "a", custom_hooks=[{"type": "BrokenHook"}]).train()
    assert isinstance(refused.value.__cause__, RuntimeError)
    monkeypatch.setattr("maetool.engine.optim.schedules.IterBasedTrainLoop", None)
    with pytest.raises(TypeError):
        build(repository, tmp_path / "b").train()
