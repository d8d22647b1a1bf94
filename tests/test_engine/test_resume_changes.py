"""A value that is changed on a resume takes effect and is logged, or is refused with a sentence."""

import re
import shutil

import pytest
import torch
from mmengine.hooks import Hook
from PIL import Image
from runs import EPOCHS, ITERS, StopAt, make_runner

from maetool.engine.resume_changes import changes_since, describe_changes
from maetool.errors import UsageError
from maetool.weights.read import read_checkpoint
from maetool.weights.write import write_checkpoint

STOP = 7
FINETUNE = "configs/finetune/vit-t_shapes.py"
COSINE = {"type": "CosineAnnealingLR", "T_max": 12, "by_epoch": False, "eta_min": 0.0}
STEPS = {"type": "WarmupStepLR", "warmup_epochs": 1, "milestones": [0.5, 0.8], "convert_to_iter_based": True}


class Rates(Hook):
    """Notes the options of the optimiser that each step is made with."""

    priority = "VERY_LOW"

    def __init__(self):
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        names = ("lr", "weight_decay", "betas", "momentum")
        groups = runner.optim_wrapper.param_groups  # with the one that the log's base_lr is read from
        self.seen[runner.iter] = [{k: plain(group[k]) for k in names if k in group} for group in groups]


def runner_of(repository, work_dir, options=(), sections=None, saves=False, **arguments):
    """A runner of a run without pictures and validation, and as a rule without checkpoints inside an epoch."""
    sections = {"custom_hooks": [], "val_dataloader": None, **(sections or {})}
    options = [*options, f"default_hooks.checkpoint.every_n_iters={int(saves)}"]
    return make_runner(repository, work_dir, options=options, sections=sections, **arguments)


def stopped_run(repository, work_dir, stop=STOP, **arguments):
    runner = runner_of(repository, work_dir, saves=True, **arguments)
    runner.register_hook(StopAt(stop), "LOWEST")
    with pytest.raises(KeyboardInterrupt):
        runner.train()


def plain(value):
    return list(value) if isinstance(value, tuple) else value


def rates_of(runner):
    hook = Rates()
    runner.register_hook(hook)
    runner.train()
    return hook.seen


def log_of(folder):
    return "".join(path.read_text() for path in sorted(folder.glob("*/*.log")))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("stopped")
    stopped_run(repository, folder)
    return folder


@pytest.fixture
def folder(stopped, tmp_path):
    """A work folder with the stopped run in it, without its log."""
    shutil.copytree(stopped, tmp_path / "run", ignore=lambda _, names: [n for n in names if n.startswith("20")])
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["base_lr=3e-4"], "base_lr 0.006 -> 0.0003 from here on"),
        (["effective_batch_size=8"], "effective_batch_size not set -> 8 from here on"),
        (["optim_wrapper.optimizer.weight_decay=0.3"], "optim_wrapper.optimizer.weight_decay 0.05 -> 0.3 from here on"),
        (["optim_wrapper.optimizer.betas=[0.8,0.9]"], "optim_wrapper.optimizer.betas [0.9, 0.95] -> [0.8, 0.9]"),
        (["train_cfg.max_epochs=4"], "train_cfg.max_epochs 3 -> 4 from here on, and so is the length of the"),
        (["param_scheduler.0.warmup_epochs=2"], "param_scheduler.0.warmup_epochs 1 -> 2 from here on"),
        (["param_scheduler.0.min_lr=1e-5"], "param_scheduler.0.min_lr 0 -> 1e-05 from here on"),
        (["train_dataloader.batch_size=2", "effective_batch_size=8"], "train_dataloader.batch_size 4 -> 2 from"),
    ],
    ids=lambda value: value[0].split("=")[0] if isinstance(value, list) else "",
)
def test_steps_are_made_with_what_a_run_of_the_new_options_has_there(repository, tmp_path, folder, options, line):
    resumed = runner_of(repository, folder, resume=True, options=options)
    seen = rates_of(resumed)
    expected = rates_of(runner_of(repository, tmp_path / "fresh", options=options))
    assert min(seen) in (STOP, 2 * STOP)
    assert max(seen) == max(expected)
    assert seen == {step: expected[step] for step in seen}
    assert line in log_of(folder)
    values, _ = resumed.message_hub.get_scalar("train/base_lr").data
    assert values[-len(seen) :].tolist() == [groups[-1]["lr"] for groups in seen.values()]


def scheduled(*schedules):
    return {"sections": {"param_scheduler": [dict(schedule) for schedule in schedules]}}


@pytest.mark.parametrize(
    "schedules",
    [
        [STEPS],
        [COSINE],
        [{"type": "ExponentialLR", "gamma": 0.5, "by_epoch": True}, COSINE],
    ],
    ids=["steps", "cosine", "two"],
)
def test_another_schedule_is_where_it_would_be(repository, tmp_path, folder, schedules):
    seen = rates_of(runner_of(repository, folder, resume=True, **scheduled(*schedules)))
    expected = rates_of(runner_of(repository, tmp_path / "fresh", **scheduled(*schedules)))
    assert seen == {step: expected[step] for step in range(STOP, ITERS * EPOCHS)}
    assert "param_scheduler" in log_of(folder)


@pytest.mark.parametrize("end", [0.0, 1e-5])
def test_schedules_of_mmengine(repository, tmp_path, end):
    """Each of their values is made of the one before, so nothing but running them again gives other ones."""
    stopped_run(repository, tmp_path / "run", **scheduled(COSINE))
    changed = scheduled({**COSINE, "eta_min": end})
    seen = rates_of(runner_of(repository, tmp_path / "run", resume=True, **changed))
    expected = rates_of(runner_of(repository, tmp_path / "fresh", **changed))
    assert seen == {step: expected[step] for step in range(STOP, ITERS * EPOCHS)}
    assert ("eta_min 0 -> 1e-05 from here on" in log_of(tmp_path / "run")) == bool(end)


def test_layer_decay(repository, tmp_path):
    stopped_run(repository, tmp_path / "run", config=FINETUNE)
    options = ["optim_wrapper.paramwise_cfg.layer_decay=0.5"]
    seen = rates_of(runner_of(repository, tmp_path / "run", resume=True, config=FINETUNE, options=options))
    expected = rates_of(runner_of(repository, tmp_path / "fresh", config=FINETUNE, options=options))
    assert seen == {step: expected[step] for step in seen}
    assert "optim_wrapper.paramwise_cfg.layer_decay 0.65 -> 0.5 from here on" in log_of(tmp_path / "run")


@pytest.mark.parametrize(
    ("option", "place", "value"),
    [
        ("model.masker.mask_ratio=0.5", lambda runner: runner.bare_model.masker.num_keep((4, 4)), 8),
        (
            "model.encoder.drop_path_rate=0.4",
            lambda runner: runner.bare_model.encoder.blocks[1].drop_path.rate,
            0.4,
        ),
        ("model.target.norm_pix_loss=False", lambda runner: runner.bare_model.target.norm_pix_loss, False),
        ("optim_wrapper.clip_grad.max_norm=0.5", lambda runner: runner.optim_wrapper.max_norm, 0.5),
        ("optim_wrapper.dtype=bfloat16", lambda runner: runner.optim_wrapper.dtype, torch.bfloat16),
    ],
)
def test_other_values_take_effect(repository, folder, option, place, value):
    runner = runner_of(repository, folder, resume=True, options=[option])
    runner.train()
    assert place(runner) == value
    assert f"{option.split('=')[0]} " in log_of(folder)


def test_speed_and_place_change_without_a_word(repository, folder):
    options = ["default_hooks.logger.interval=3", "gradient_checkpointing=True"]
    options += ["train_dataloader.pin_memory=False"]
    runner_of(repository, folder, resume=True, workers=1, options=options).train()
    assert " -> " not in log_of(folder)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("optim_wrapper.optimizer.type=Adam", "optim_wrapper.optimizer.type=AdamW, but it is Adam now"),
        ("train_dataloader.sampler.repeats=3", "sampler.repeats=not set, but it is 3 now, and the order of the images"),
        ("model.encoder.depth=3", "encoder.blocks.2"),
        ("model.encoder.pos_embed=learned", "parameter group|tensors in"),
        ("optim_wrapper.constructor=DefaultOptimWrapperConstructor", "tensors in 2 groups, but"),
    ],
)
def test_what_cannot_change_is_refused(repository, folder, option, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        runner_of(repository, folder, resume=True, options=[option]).train()
    assert "\n" not in str(info.value)


def test_another_architecture_names_the_config_that_the_run_left(repository, folder):
    """The one beside the checkpoint is written anew by every start; that of a start's own folder is not."""
    left = folder / "20260101_000000/vis_data/config.py"
    config = read_checkpoint(folder / f"iter_{STOP}.pth")["meta"]["cfg"]
    for path, text in ((left, config), (folder / "2025/vis_data/config.py", "")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    options = ["model.encoder.depth=3"]
    with pytest.raises(UsageError, match=re.escape(f"Pass the config that the checkpoint was trained with, {left}.")):
        runner_of(repository, folder, resume=True, options=options).train()
    left.unlink()
    with pytest.raises(UsageError, match=r"Pass the config that the checkpoint was trained with\."):
        runner_of(repository, folder, resume=True, options=options).train()


def test_a_frozen_encoder_is_refused(repository, tmp_path):
    stopped_run(repository, tmp_path, config=FINETUNE)
    options = ["model.frozen=True"]
    with pytest.raises(UsageError, match=r"tensors in .* resume with the model\.frozen"):
        runner_of(repository, tmp_path, resume=True, config=FINETUNE, options=options).train()


def test_fewer_epochs_than_are_over_are_refused(repository, tmp_path):
    runner_of(repository, tmp_path).train()
    with pytest.raises(UsageError, match=r"trained for 3 epochs, but train_cfg\.max_epochs is 2"):
        runner_of(repository, tmp_path, resume=True, options=["train_cfg.max_epochs=2"]).train()


def images(folder, names):
    generator = torch.Generator().manual_seed(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(256, (16, 16, 3), generator=generator).byte()
        Image.fromarray(pixels.numpy()).save(folder / f"{name}.png")
    dataset = {"type": "ImageFolderDataset", "root": str(folder), "with_labels": True}
    dataset["pipeline"] = [{"type": "ResizeCenterCrop"}]
    loader = {
        "batch_size": 4,
        "num_workers": 0,
        "collate_fn": {"type": "collate_samples"},
        "sampler": {"type": "KeyedSampler"},
        "dataset": dataset,
    }
    return {"sections": {"train_dataloader": loader}}


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([f"{'ab'[i % 2]}/{i}" for i in range(16)], None),
        ([f"{'ab'[i % 2]}/other{i}" for i in range(16)], r"the images a/0.png \.\.\. .* a/other0.png"),
        ([f"{'pq'[i % 2]}/{i}" for i in range(16)], r"classes 2 \(a, \.\.\.\), but it is 2 \(p, \.\.\.\) now"),
    ],
    ids=["moved", "other names", "other classes"],
)
def test_the_images_may_move_but_not_change(repository, tmp_path, names, sentence):
    first = images(tmp_path / "first", [f"{'ab'[i % 2]}/{i}" for i in range(16)])
    stopped_run(repository, tmp_path / "run", **first)
    second = images(tmp_path / "second", names)
    if sentence is None:
        runner_of(repository, tmp_path / "run", resume=True, **second).train()
        assert " -> " not in log_of(tmp_path / "run")
    else:
        with pytest.raises(UsageError, match=sentence):
            runner_of(repository, tmp_path / "run", resume=True, **second).train()


def test_a_checkpoint_without_a_config_resumes_with_the_options_of_this_one(repository, tmp_path, folder):
    path = folder / f"iter_{STOP}.pth"
    state = read_checkpoint(path)
    for name in ("cfg", "data_names", "dataset_meta"):
        del state["meta"][name]
    write_checkpoint(state, path)
    options = ["base_lr=3e-4", "param_scheduler.0.min_lr=1e-6"]
    seen = rates_of(runner_of(repository, folder, resume=True, options=options))
    expected = rates_of(runner_of(repository, tmp_path / "fresh", options=options))
    assert seen == {step: expected[step] for step in range(STOP, ITERS * EPOCHS)}


def test_weights_of_the_start_are_not_read(repository, folder):
    runner_of(repository, folder, resume=True, options=["init_from=nowhere.pth"]).train()
    assert "init_from not set -> nowhere.pth is not used: the weights come from the checkpoint" in log_of(folder)


def test_a_larger_batch_at_the_end_of_an_epoch_goes_on_there(repository, tmp_path):
    stopped_run(repository, tmp_path, ITERS)
    runner = runner_of(repository, tmp_path, resume=True, options=["train_dataloader.batch_size=8"])
    seen = rates_of(runner)
    assert sorted(seen) == list(range(ITERS // 2, EPOCHS * ITERS // 2))


BANK = "bank_dataloader=dict(batch_size=2)"
OBJECTS = "dict(type='ValLoop', evaluators=dict(objects=dict(type='DetectionEvaluator')))"
EVALUATORS = (
    f"dict(type='ValLoop', {BANK}, evaluators=dict(loss=dict(type='LossEvaluator'), "
    "knn=dict(type='KnnEvaluator', pixels=True, optional=True), "
    "linear_probe=dict(type='LinearProbeEvaluator', optional=True)))"
)
PROBE = "val_cfg.evaluators.linear_probe not set -> LinearProbeEvaluator"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "custom_hooks = [dict(type='EMAHook', interval=1)]",
            "custom_hooks = [dict(type='EMAHook', interval=2)]",
            "custom_hooks.EMAHook.interval 1 -> 2",
        ),
        (
            "custom_hooks = [dict(type='MyHook', interval=1)]",
            "custom_hooks = [dict(type='MyHook', interval=2)]",
            "custom_hooks.MyHook.interval 1 -> 2",
        ),
        (
            "custom_hooks = [dict(type='ReconstructionHook', interval=1)]",
            "custom_hooks = [dict(type='ReconstructionHook', interval=2)]",
            None,
        ),
        ("train_cfg = dict(val_interval=1)", "train_cfg = dict(val_interval=2)", "train_cfg.val_interval 1 -> 2"),
        ("val_cfg = dict(type='V', k=20)", "val_cfg = dict(type='V', k=10)", "val_cfg.k 20 -> 10"),
        (f"val_cfg = dict(type='PretrainValLoop', {BANK}, linear_probe=True)", f"val_cfg = {EVALUATORS}", None),
        ("val_cfg = dict(type='DetectionValLoop')", f"val_cfg = {OBJECTS}", None),
        (f"val_cfg = dict(type='PretrainValLoop', {BANK})", f"val_cfg = {EVALUATORS}", PROBE),
        ("val_evaluator = [dict(type='A')]", "val_evaluator = [dict(type='B')]", "val_evaluator.0.type A -> B"),
        (
            "val_dataloader = dict(batch_size=2)",
            "val_dataloader = dict(batch_size=3)",
            "val_dataloader.batch_size 2 -> 3",
        ),
        ("val_dataloader = dict(num_workers=2)", "val_dataloader = dict(num_workers=3)", None),
        ("train_cfg = dict(max_hours=2)", "train_cfg = dict(max_hours=3)", None),
        (
            "a = 1",
            "a = 1\nrunner_type = 'maetool.engine.runner.MaetoolRunner'",
            None,
        ),  # as 0.1.0
    ],
)
def test_only_what_changes_no_result_is_silent(old, new, line):
    lines = [str(change) for change in changes_since({"cfg": old}, {"cfg": new})]
    assert lines == ([line] if line else [])


def test_comparison_by_hand():
    meta = {"cfg": "a = dict(b=1, c=[1, 2], d=None)\ncustom_hooks = [dict(type='X', n=1)]\nwork_dir = 'p'"}
    new = "a = dict(b=2, c=(1, 2), e=None)\ncustom_hooks = [dict(type='Y'), dict(type='X', n=2)]\nwork_dir = 'q'"
    assert list(describe_changes(changes_since(meta, {"cfg": new}))) == [
        "a.b 1 -> 2 from here on",
        "custom_hooks.X.n 1 -> 2 from here on",
        "custom_hooks.Y not set -> Y from here on",
    ]


def test_the_rule_is_said_and_gradients_that_are_not_there_are_not_dropped(repository, tmp_path):
    stopped_run(repository, tmp_path, stop=ITERS)
    options = ["effective_batch_size=8"]
    runner_of(repository, tmp_path, resume=True, options=options).train()
    text = log_of(tmp_path)
    assert "optimiser state and position in the data come from" in text
    assert "all else is the config's, as it is now" in text
    assert "accumulated gradients of 0 images" not in text


def test_other_labels_of_the_same_images_are_refused(repository, tmp_path):
    stopped_run(repository, tmp_path, config=FINETUNE)
    runner = runner_of(repository, tmp_path, resume=True, config=FINETUNE)
    dataset = runner.train_dataloader.dataset
    runner.train_dataloader.dataset.labels = dataset.labels.flip(0)
    with pytest.raises(UsageError, match=r"was trained with the labels [0-9a-f]{16}, but it is [0-9a-f]{16} now"):
        runner.train()
