"""What no config need write: it is filled in, and what is written stays."""

from pathlib import Path

import pytest
import torch
from doc_pages import blocks_of
from mmengine import Config
from PIL import Image
from torch.utils.data import Dataset

from maetool.config.load import load_config
from maetool.config.origin import COMPUTED, trace
from maetool.config.prepare import prepare_config
from maetool.engine.launch import build_runner
from maetool.errors import UsageError
from maetool.registry import DATASETS

SHAPES = "configs/mae/vit-t_shapes.py"
LOADER = {"batch_size": 2, "dataset": {"type": "ShapesDataset", "num_samples": 8}}
OBJECTS = {"batch_size": 2, "dataset": {"type": "ObjectShapesDataset", "num_samples": 8}}
STACKED = {"type": "MaskedImageModel", "data_preprocessor": {"type": "ImagePreprocessor"}}
HOOKS = ["ProgressHook", "MaskerProgressHook", "BrokenFilesHook", "NonFiniteHook", "DataWaitHook"]
HOOKS += ["ReconstructionHook", "LossCurveHook", "HealthHook", "ReportHook"]


@pytest.fixture
def write(repository, tmp_path):
    """Return the function that writes a config which builds on the one of drawn shapes, and loads it."""

    def write(text, options=(), base=SHAPES):
        path = tmp_path / "mine.py"
        path.write_text((f"_base_ = {str(repository / base)!r}\n" if base else "") + text)
        return load_config(path, options)

    return write


@pytest.mark.parametrize(
    ("dataset", "collate"), [(LOADER["dataset"], "collate_samples"), (OBJECTS["dataset"], "collate_objects")]
)
def test_loaders(write, dataset, collate):
    cfg = write(f"model = {STACKED}\ntrain_dataloader = dict(dataset={dataset})\nval_dataloader = {LOADER}\n", base="")
    assert cfg.train_dataloader.sampler == {"type": "KeyedSampler", "shuffle": True}
    assert cfg.val_dataloader.sampler == {"type": "KeyedSampler", "shuffle": False}
    assert cfg.train_dataloader.collate_fn == {"type": collate}
    assert cfg.val_evaluator == []
    assert "test_evaluator" not in cfg


class Plain(Dataset):
    """Somebody else's, which takes indices and nothing else."""

    def __init__(self, num_samples):
        self.images = torch.arange(num_samples * 3 * 8 * 8, dtype=torch.uint8).view(num_samples, 3, 8, 8)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"inputs": self.images[index], "index": index}


def test_the_dataset_of_somebody_else(write, tmp_path):
    DATASETS.register_module(module=Plain)
    try:
        loader = {"batch_size": 4, "num_workers": 0, "dataset": {"type": "Plain", "num_samples": 8}}
        options = [f"work_dir={tmp_path}", "val_dataloader=None", "train_cfg.max_epochs=2", "effective_batch_size=4"]
        options += ["model.encoder.img_size=8", "train_dataloader.collate_fn.type=default_collate"]
        options += ["custom_hooks.pictures=None"]
        cfg = write(f"train_dataloader = dict(_delete_=True, **{loader})", options)
        assert cfg.train_dataloader.sampler == {"type": "DefaultSampler", "shuffle": True}
        runner = build_runner(cfg)
        runner.train()
        assert runner.iter == 4
    finally:
        DATASETS.module_dict.pop("Plain")


@pytest.mark.parametrize(
    ("written", "sampler"),
    [
        ("dict(repeats=2)", {"type": "KeyedSampler", "shuffle": True, "repeats": 2}),
        ("dict(shuffle=False)", {"type": "KeyedSampler", "shuffle": False}),
        ("dict(type='DefaultSampler')", {"type": "DefaultSampler"}),
        ("None", None),
    ],
)
def test_a_sampler_that_is_written(write, written, sampler):
    assert write(f"train_dataloader = dict(sampler={written})").train_dataloader.sampler == sampler


def test_an_option_for_a_sampler_that_is_filled_in(write):
    assert write("", ["train_dataloader.sampler.repeats=2"]).train_dataloader.sampler == {
        "type": "KeyedSampler",
        "shuffle": True,
        "repeats": 2,
    }


@pytest.mark.parametrize("loader", ["collate_fn=dict(type='pseudo_collate')", "batch_sampler=dict(type='X')"])
def test_what_a_loader_says_stays(write, loader):
    cfg = write(f"train_dataloader = dict({loader})").train_dataloader
    assert cfg.collate_fn.type == ("pseudo_collate" if "pseudo" in loader else "collate_samples")
    assert ("sampler" in cfg) == ("pseudo" in loader)


def test_a_model_of_another_toolbox_keeps_mmengines_batches(write):
    model = {"type": "MaskedImageModel", "data_preprocessor": {"type": "ImgDataPreprocessor"}}
    cfg = write(f"model = {model}\ntrain_dataloader = {LOADER}", base="")
    assert "collate_fn" not in cfg.train_dataloader
    cfg = write(
        f"model = dict(type='X')\ndata_preprocessor = dict(type='ImagePreprocessor')\ntrain_dataloader = {LOADER}",
        base="",
    )
    assert cfg.train_dataloader.collate_fn == {"type": "collate_samples"}


@pytest.mark.parametrize(
    ("scheduler", "converted"),
    [
        ({"type": "WarmupCosineLR", "warmup_epochs": 1}, True),
        ({"type": "WarmupStepLR", "warmup_epochs": 1, "milestones": [0.5]}, True),
        ({"type": "WarmupCosineLR", "warmup_epochs": 1, "epochs": 3, "epoch_length": 2}, None),
        ({"type": "LinearLR", "start_factor": 0.1}, None),
        ({"type": "LinearLR", "start_factor": 0.1, "convert_to_iter_based": True}, True),
        ({"type": "NoSuchLR"}, None),
    ],
)
def test_schedules(write, scheduler, converted):
    assert write(f"param_scheduler = [{scheduler}]").param_scheduler[0].get("convert_to_iter_based") == converted
    assert write(f"param_scheduler = {scheduler}", base="").param_scheduler.get("convert_to_iter_based") == converted


@pytest.mark.parametrize(
    ("loop", "filled"),
    [
        ("dict(max_epochs=2)", True),
        ("dict(type='ResumableTrainLoop', max_epochs=2)", True),
        ("dict(by_epoch=True, max_epochs=2)", False),
        ("dict(type='EpochBasedTrainLoop', max_epochs=2)", False),
        ("None", False),
    ],
)
def test_the_hook_that_tells_samplers_their_epoch(write, loop, filled):
    hooks = write(f"train_cfg = {loop}", base="").get("default_hooks", {})
    assert ("sampler_seed" in hooks) == filled
    hook = {"type": "DistSamplerSeedHook"}
    assert write(f"default_hooks = dict(sampler_seed={hook})\ntrain_cfg = {loop}").default_hooks.sampler_seed == hook


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("train_dataloader=3", "train_dataloader is 3, but must be a dict"),
        ("train_dataloader.dataset=3", "train_dataloader.dataset is 3, but must be a dict"),
        ("train_dataloader.dataset.type=NoSuchData", "no dataset called `NoSuchData`"),
        ("val_cfg=3", "val_cfg is 3, but must be a dict"),
        ("param_scheduler=[3]", "param_scheduler.0 is 3, but must be a dict"),
        ("train_cfg=3", "train_cfg is 3, but must be a dict"),
        ("default_hooks=3", "default_hooks is 3, but must be a dict"),
        ("model=3", "model is 3, but must be"),
    ],
)
def test_what_cannot_be_filled_in_is_left_to_the_checks(write, option, sentence):
    with pytest.raises(UsageError, match=sentence):
        prepare_config(write("", [option]))


def test_a_config_that_was_loaded_elsewhere_is_completed_alike(repository):
    cfg, elsewhere = load_config(repository / SHAPES), Config.fromfile(repository / SHAPES)
    prepare_config(cfg)
    prepare_config(elsewhere)
    assert {**elsewhere.to_dict(), "work_dir": cfg.work_dir} == cfg.to_dict()
    again = cfg.to_dict()
    prepare_config(cfg)
    assert cfg.to_dict() == again


def test_what_is_filled_in_is_said(repository):
    origins = {name: origin for name, _, origin in trace(repository / SHAPES)}
    for name in ("train_dataloader.sampler.type", "param_scheduler.0.convert_to_iter_based"):
        assert origins[name] == COMPUTED
    assert origins["custom_hooks.3.max_in_a_row"].startswith("configs/_base_/runtime/default.py:")


def test_the_smallest_config_trains(repository, tmp_path, monkeypatch):
    """That of the page, on a folder of images; only its sizes are others."""
    text = next(block.text for block in blocks_of(repository / "docs/configs.md") if "ImageFolderDataset" in block.text)
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for number in range(8):
        Image.new("RGB", (40, 30), (number * 30, 90, 200)).save(f"images/{number}.png")
    options = ["model.encoder.img_size=32", "model.encoder.depth=1", "model.decoder.depth=1", "train_cfg.max_epochs=1"]
    options += ["train_dataloader.batch_size=4", "train_dataloader.num_workers=0"]
    for name, written in (("mine", text), ("alone", text.replace('    "maetool::_base_/runtime/default.py",\n', ""))):
        Path(f"{name}.py").write_text(written)
        runner = build_runner(load_config(f"{name}.py", [*options, f"work_dir={name}"]))
        runner.train()
        assert (runner.iter, Path(name, "epoch_1.pth").is_file()) == (2, True)
        assert Path(name, "reconstructions").is_dir() == (name == "mine")


# Hooks by name


def types_of(cfg):
    return [hook["type"] for hook in cfg.custom_hooks]


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("", HOOKS),
        ("custom_hooks = dict(pictures=None)", [name for name in HOOKS if name != "ReconstructionHook"]),
        ("custom_hooks = dict(ema=dict(type='EMAHook'))", [*HOOKS, "EMAHook"]),
        ("custom_hooks = dict(pictures=dict(type='OverlayHook'))", [*HOOKS[:5], "OverlayHook", *HOOKS[6:]]),
        ("custom_hooks = dict(_delete_=True, ema=dict(type='EMAHook'))", ["EMAHook"]),
        ("custom_hooks = [dict(type='EMAHook')]", ["EMAHook"]),
        ("custom_hooks = []", []),
    ],
)
def test_hooks_are_changed_by_name(write, text, types):
    assert types_of(write(text)) == types


def test_one_value_of_a_hook(write):
    cfg = write("custom_hooks = dict(data_wait=dict(threshold=0.5))")
    assert cfg.custom_hooks[4] == {"type": "DataWaitHook", "threshold": 0.5}
    options = ["custom_hooks.data_wait.threshold=0.7", "custom_hooks.3.max_in_a_row=9", "custom_hooks.ema.type=EMAHook"]
    cfg = write("custom_hooks = dict(masker_progress=None)", [*options, "custom_hooks.pictures=None"])
    assert types_of(cfg) == [HOOKS[0], *HOOKS[2:5], *HOOKS[6:], "EMAHook"]
    assert cfg.custom_hooks[3] == {"type": "DataWaitHook", "threshold": 0.7, "max_in_a_row": 9}
    cfg = write("custom_hooks = [dict(type='ProgressHook'), dict(type='EMAHook')]", ["custom_hooks.1.momentum=0.1"])
    assert cfg.custom_hooks[1] == {"type": "EMAHook", "momentum": 0.1}


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        (
            "custom_hooks = dict(data_wiat=dict(threshold=1))",
            [],
            r"data_wiat \(did you mean data_wait\?\) has no `type`",
        ),
        ("custom_hooks = dict(type='EMAHook')", [], r"custom_hooks.type.* is 'EMAHook', but must be a dict"),
        ("", ["custom_hooks.interval=3"], r"custom_hooks.interval is 3, but must .* are progress, masker_progress"),
        ("custom_hooks = dict(_delete_=True, a=[])", [], r"custom_hooks.a is \[\], but must be .* hooks are none"),
        ("custom_hooks = 3", [], r"custom_hooks is 3, but must be a list"),
    ],
)
def test_what_is_no_hook(write, text, options, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        write(text, options)
    assert "\n" not in str(info.value)


def test_where_a_hook_comes_from(write, tmp_path):
    lines = ["masker_progress=None", "data_wait=dict(threshold=0.5)", "mine=dict(type='EMAHook')"]
    write("custom_hooks = dict(\n" + ",\n".join(lines) + ")\n")
    options = ["custom_hooks.broken_files.max_broken=3"]
    found = {name: (value, origin) for name, value, origin in trace(tmp_path / "mine.py", options)}
    assert found["custom_hooks.3.threshold"] == (0.5, f"{tmp_path}/mine.py:4")
    assert found["custom_hooks.8.type"] == ("EMAHook", f"{tmp_path}/mine.py:5")
    assert found["custom_hooks.1.max_broken"] == (3, "--cfg-options")
