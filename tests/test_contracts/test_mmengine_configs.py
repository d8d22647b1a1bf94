"""What users of MMEngine write in a config works, or is refused in one sentence; nothing is silently ignored."""

import json
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine import Config
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.registry import RUNNERS
from torch import nn

import maetool
from maetool.annotations import Count, describe, fits, hints_of, kinds_of
from maetool.config.checks import check_config
from maetool.config.debug import shrink
from maetool.config.load import load_config, load_for
from maetool.config.options import parse_value
from maetool.config.origin import COMPUTED, trace
from maetool.config.prepare import prepare_config
from maetool.config.trust import trusted
from maetool.data import ShapesDataset
from maetool.encoders import VisionTransformer
from maetool.engine import launch
from maetool.engine.runner import MaetoolRunner
from maetool.errors import UsageError
from maetool.maskers import RandomMasker
from maetool.metadata.stored_config import read_config, read_section, store_config
from maetool.models import MaskedImageModel
from maetool.pretrained.frozen import load_frozen
from maetool.pretrained.model import load_model
from maetool.registry import DATASETS, MASKERS, MODELS, TARGETS
from maetool.targets import PixelTarget
from maetool.weights.read import local_file, read_checkpoint

SHAPES = "configs/mae/vit-t_shapes.py"
RUNTIME = "configs/_base_/runtime/default.py"


@pytest.fixture
def write(repository, tmp_path):
    """Return the function that writes a config which builds on the one of drawn shapes."""

    def write(text, name="mine.py", base=SHAPES):
        path = tmp_path / name
        path.write_text(f"_base_ = {str(repository / base)!r}\n{text}")
        return path

    return write


@pytest.fixture
def small(repository, tmp_path):
    """Return the function that loads the config of drawn shapes in its tiny form."""

    def small(options=(), **values):
        cfg, _ = load_for(
            repository / SHAPES, options, flags={"work_dir": str(tmp_path / "work"), **values}, debug=True
        )
        return cfg

    return small


@pytest.fixture(scope="module")
def trained(repository, tmp_path_factory):
    """A checkpoint of the tiny form."""
    folder = tmp_path_factory.mktemp("trained")
    cfg, _ = load_for(repository / SHAPES, flags={"work_dir": str(folder)}, debug=True)
    launch.build_runner(cfg).train()
    return folder / "epoch_2.pth"


# Keys


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("effective_batchsize = 64", "`effective_batchsize` .did you mean `effective_batch_size`"),
        ("custom_hook = []", "`custom_hook` .did you mean `custom_hooks`"),
        ("optim_wraper = dict()", "`optim_wraper` .did you mean `optim_wrapper`"),
        ("val_loader = dict()", "`val_loader`"),
        ("img_scale = 224", "`img_scale`.* call it `_img_scale` if it is a variable of your own"),
    ],
)
def test_a_key_at_the_top_that_nothing_reads_is_refused(write, line, sentence):
    with pytest.raises(UsageError, match=f"Nothing reads the config's {sentence}") as info:
        load_config(write(f"{line}\n"))
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "text",
    [
        "_size = 24\nmodel = dict(encoder=dict(img_size=_size))",
        "size = 24\nmodel = dict(encoder=dict(img_size=size))",
        "size = 12\nmodel = dict(encoder=dict(img_size=int(f'{size * 2}')))",
        "sizes = dict(small=24)\nmodel = dict(encoder=dict(img_size=sizes['small']))",
    ],
)
def test_variables_of_a_config_are_no_keys(write, text):
    cfg = load_config(write(f"{text}\n"))
    assert cfg.model.encoder.img_size == 24
    assert not {"size", "sizes"} & set(cfg)


def test_a_variable_of_a_base_is_read_by_its_child(write, tmp_path):
    write("size = 24\nmodel = dict(encoder=dict(img_size=size))\n", "parent.py")
    child = tmp_path / "child.py"
    child.write_text("_base_ = 'parent.py'\nmodel = dict(encoder=dict(patch_size={{_base_.size}}))\n")
    assert load_config(child).model.encoder.patch_size == 24
    (tmp_path / "parent.py").write_text((tmp_path / "parent.py").read_text() + "patch = 8\n")
    child.write_text("_base_ = 'parent.py'\nmodel = dict(encoder=dict(patch_size=_base_.patch))\n")
    assert load_config(child).model.encoder.patch_size == 8


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("env_cfg.cudnn_bench=True", "env_cfg has no argument `cudnn_bench` .did you mean `cudnn_benchmark`"),
        ("env_cfg.mp_cfg.start_method=fork", "env_cfg.mp_cfg has no argument `start_method`"),
        ("env_cfg.dist_cfg.backnd=gloo", "env_cfg.dist_cfg has no argument `backnd`"),
        ("log_level=LOUD", "log_level is 'LOUD', but must be the name of a level"),
        ("sync_bn=gloo", "sync_bn is 'gloo', but must be one of 'torch', 'mmcv'"),
        ("launcher=slrum", "launcher is 'slrum', but must be one of 'none', 'pytorch'"),
        ("visualizer.typ=Visualizer", "Visualizer has no argument `typ`"),
        ("visualizer.vis_backends=[{'type': 'LocalVisBackEnd'}]", "no vis_backend called `LocalVisBackEnd`"),
        ("default_scope=maetol", "default_scope is 'maetol'"),
        ("train_cfg.max_epoch=3", "ResumableTrainLoop has no argument `max_epoch`"),
        ("train_cfg=5", "train_cfg is 5, but must be a dict"),
        ("val_cfg.kk=3", "ValLoop has no argument `kk`"),
        ("val_cfg.bank_dataloader.batchsize=3", "has no argument `batchsize`"),
        ("optim_wrapper.clip=1", "AutocastOptimWrapper has no argument `clip`"),
        ("optim_wrapper.optimizer.lrr=1", "AdamW has no argument `lrr`"),
        ("optim_wrapper.optimizer.betas=0.9", "AdamW.betas is 0.9, but must be a list of 2"),
        ("optim_wrapper.constructor=DecayGroupConstructor", "did you mean `DecayGroupsConstructor`"),
        ("param_scheduler.0.warmup=1", "WarmupCosineLR has no argument `warmup`"),
        ("custom_hooks.0.intervall=1", "ProgressHook has no argument `intervall`"),
        ("default_hooks.checkpoint.interval=often", "SafeCheckpointHook.interval is 'often', but must be an integer"),
        ("train_dataloader.sampler.shufffle=True", "KeyedSampler has no argument `shufffle`"),
        ("train_dataloader.collate_fn.typ=1", "collate_samples has no argument `typ`"),
        ("train_dataloader.dataset.pipeline=[{'type': 'NoFlip'}]", "no transform called `NoFlip`"),
        ("model.encoder.depth=two", "VisionTransformer.depth is 'two', but must be an integer"),
        ("model.encoder.depth=2.5", "VisionTransformer.depth is 2.5, but must be an integer"),
        ("log_processor.window=3", "PretrainLogProcessor has no argument `window`"),
        ("custom_imports.import=[]", "custom_imports has no argument `import`"),
        ("auto_scale_lr.batch_size=3", "auto_scale_lr has no argument `batch_size`"),
        ("runner_type=Runer", "no runner called `Runer` .did you mean"),
        ("optim_wrapper.optimizer.type=Adamw", "no optimizer called `Adamw` .did you mean `AdamW`.* Known are ASGD, "),
        ("visualizer.vis_backends=[{'type': 'LocalVisBackendd'}]", "did you mean `LocalVisBackend`"),
        ("val_evaluator=[{'type': 'DumpResult'}]", "did you mean `DumpResults`"),
        ("default_hooks.ema={'type': 'EMAHok'}", "did you mean `EMAHook`"),
        ("model.masker=None", "model.masker is None, but must be a dict with the name of a part"),
        ("model.encoder=None", "model.encoder is None, but must be a dict with the name of a part"),
        ("model.tasks={'typo': 3}", "model.tasks.typo is 3, but must be a dict of decoder, target, head"),
        ("env_cfg.mp_cfg=None", "env_cfg.mp_cfg is None, but must be a dict"),
        ("env_cfg.resource_limit=x", "env_cfg.resource_limit is 'x', but must be a whole number above 0"),
        ("optim_wrapper.optimizer=None", "optim_wrapper.optimizer is None, but must be a dict"),
        ("init_share=2", "init_share is 2, but must be a number from 0 to 1"),
        ("init_adapt=foo", "init_adapt is 'foo', but must be one of 'channels', 'patch_size' or a list"),
        ("base_lr=1e400", "base_lr is inf, but must be a finite number"),
        ("optim_wrapper.optimizer.weight_decay=1e400", "weight_decay is inf, but must be a finite number"),
        ("val_cfg.k=0", "val_cfg.evaluators.knn.k is 0, but must be a number from 1"),
        ("val_cfg.temperature=0", "val_cfg.evaluators.knn.temperature is 0, but must be a number above 0"),
        ("log_processor.window_size=0", "log_processor.window_size is 0, but must be a number from 1"),
        ("model.encoder.depth=0", "model.encoder.depth is 0, but must be a number from 1"),
        ("model.encoder.depth=-1", "model.encoder.depth is -1, but must be a number from 1"),
        ("model.encoder.img_size=[32,0]", "model.encoder.img_size is .32, 0., but must be a number from 1"),
        ("model.decoder.depth=-1", "model.decoder.depth is -1, but must be a number from 0"),
        ("train_cfg.max_epochs=-1", "train_cfg.max_epochs is -1, but must be a number from 0"),
        ("optim_wrapper.accumulative_counts=0", "optim_wrapper.accumulative_counts is 0, but must be a number from 1"),
        (
            "optim_wrapper.paramwise_cfg={'custom_keys': {'norm': {'lr_mul': 0.1}}}",
            "no argument `lr_mul` .did you mean",
        ),
        ("optim_wrapper.paramwise_cfg={'custom_keys': {'norm': 0.1}}", "custom_keys.norm is 0.1, but must be a dict"),
        (
            "train_dataloader.dataset={'_delete_': True, 'type': 'RepeatDataset', 'times': 2, 'dataset': "
            "{'type': 'ShapesDataset', 'num_sampls': 8}}",
            "ShapesDataset has no argument `num_sampls`",
        ),
        (
            "train_dataloader.dataset={'_delete_': True, 'type': 'ConcatDataset', 'datasets': "
            "[{'type': 'ShapesDataset', 'num_samples': 8}]}",
            "train_dataloader.dataset is a ConcatDataset around a ShapesDataset",
        ),
        ("val_evaluator.0.type=NoSuchMetric", "fit the config|no metric called"),
    ],
)
def test_unknown_names_and_values_are_refused_at_every_depth(repository, option, sentence):
    with pytest.raises(UsageError, match=sentence) as info:
        prepare_config(load_config(repository / SHAPES, [option]))
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "options",
    [
        ["optim_wrapper.type=OptimWrapper", "optim_wrapper._delete_=True", "optim_wrapper.optimizer.type=SGD"],
        ["optim_wrapper.type=AmpOptimWrapper", "optim_wrapper._delete_=True", "optim_wrapper.loss_scale=512.0"],
        ["env_cfg.dist_cfg.timeout=3600", "env_cfg.resource_limit=8192"],
        ["visualizer.type=Visualizer", "visualizer.vis_backends=[{'type': 'LocalVisBackend'}]"],
        ["default_hooks.early.type=EarlyStoppingHook", "default_hooks.early.monitor=loss"],
        ["default_hooks.ema.type=EMAHook", "default_hooks.ema.momentum=0.01", "default_hooks.ema.priority=NORMAL"],
        ["train_cfg.type=EpochBasedTrainLoop", "train_cfg._delete_=True", "train_cfg.max_epochs=2"],
        ["train_cfg._delete_=True", "train_cfg.by_epoch=True", "train_cfg.max_epochs=2"],
        ["optim_wrapper.constructor=DefaultOptimWrapperConstructor", "optim_wrapper.paramwise_cfg.norm_decay_mult=0.0"],
        ["compile.mode=default", "find_unused_parameters=True", "sync_bn=torch", "log_level=DEBUG"],
    ],
    ids=lambda options: options[0],
)
def test_what_mmengine_takes_passes_the_checks(repository, options):
    cfg = load_config(repository / SHAPES, options)
    if "_delete_" in options[1] and "optim" in options[1]:
        cfg.optim_wrapper.setdefault("optimizer", {"type": "SGD"})
    check_config(cfg)


@pytest.mark.parametrize(
    ("paramwise", "constructor", "sentence"),
    [
        ({"norm_decay": 0.0}, "DefaultOptimWrapperConstructor", "has no argument `norm_decay` .did you mean"),
        ({"norm_decay_mult": 0.0}, "DecayGroupsConstructor", "takes no paramwise_cfg"),
    ],
)
def test_options_of_a_constructor_that_it_does_not_know(small, paramwise, constructor, sentence):
    cfg = small()
    cfg.optim_wrapper.update(constructor=constructor, paramwise_cfg=paramwise)
    with pytest.raises(UsageError, match=sentence):
        launch.build_runner(cfg).train()


@pytest.mark.parametrize(("key", "count"), [("encoder", 0), ("encodr", 1)])
def test_custom_keys_that_match_no_parameter(small, monkeypatch, key, count):
    cfg = small()
    paramwise = {"custom_keys": {key: {"lr_mult": 0.1}}}
    cfg.optim_wrapper.update(constructor="DefaultOptimWrapperConstructor", paramwise_cfg=paramwise)
    runner = launch.build_runner(cfg)
    lines = []
    monkeypatch.setattr(runner.logger, "warning", lines.append)
    runner.build_optim_wrapper(cfg.optim_wrapper)
    assert len([line for line in lines if "has `encodr`, which matches no parameter name" in line]) == count


@pytest.mark.parametrize("clip", [{"type": "vale", "clip_value": 1}, {"max_norm": "much"}, {"max_norm": 0}])
def test_clipping_that_the_wrapper_does_not_know(small, clip):
    cfg = small()
    cfg.optim_wrapper.clip_grad = clip
    with pytest.raises(UsageError, match=r"clip_grad is .*, but must be None or dict.max_norm=N. with N above 0"):
        launch.build_runner(cfg).train()


@pytest.mark.parametrize("name", ["train_dataloader", "train_cfg", "optim_wrapper"])
@pytest.mark.parametrize("debug", [True, False])
def test_a_run_without_one_of_what_it_trains_by(repository, name, debug):
    with pytest.raises(UsageError, match=f"The config has no {name}: training needs"):
        launch.build_runner(load_for(repository / SHAPES, [f"{name}=None"], debug=debug)[0])


def test_other_runners_than_maetool_s_are_refused(small):
    cfg = small()
    cfg.runner_type = "mmengine.Runner"
    with pytest.raises(UsageError, match=r"runner_type is 'mmengine.Runner', but maetool's commands run MaetoolRunner"):
        launch.build_runner(cfg)


@pytest.mark.parametrize(("name", "count"), [("checkpont", 1), ("ema", 0)])
def test_names_of_hooks_near_mmengine_s_are_told(small, monkeypatch, name, count):
    lines = []
    monkeypatch.setattr("maetool.config.values.print_log", lambda line, *_: lines.append(line), raising=False)
    cfg = small()
    cfg.default_hooks[name] = {"type": "EMAHook"}
    check_config(cfg)
    assert len([line for line in lines if "`checkpoint`: is the name misspelt?" in line]) == count


# Options


@pytest.mark.parametrize(
    ("text", "current", "hint", "value"),
    [
        ("my data", "old", str, "my data"),
        ("a,b", "old", str, "a,b"),
        ("007", "old", str, "007"),
        ("2024", "old", str, "2024"),
        ("[v1]", "old", str, "[v1]"),
        ("v(1,2", None, str | None, "v(1,2"),
        (r"C:\new\table", "old", str, r"C:\new\table"),
        ("True", "old", str, "True"),
        ("'007'", "old", str, "007"),
        ("None", "old", str | None, None),
        ("007", None, object, "007"),
        ("v(1,2", None, object, "v(1,2"),
        ("a b, c", None, object, "a b, c"),
        ("old", "auto", object, "old"),
        ("4", "auto", object, 4),
        ("4", 8, int, 4),
        ("1e-3", 0.1, float, 1e-3),
        ("true", False, bool, True),
        ("1,2", [3], list[int], [1, 2]),
        ("1,2", (3, 4), tuple[int, ...], (1, 2)),
        ("a,b", ["x"], list[str], ["a", "b"]),
        ("a,b", None, str | list[str], ["a", "b"]),
        ("[a,b]", None, object, ["a", "b"]),
        ("[f(a, b), 2]", None, object, ["f(a, b)", 2]),
        ("[dict(type='A', b=(1, 2)), dict()]", [], list, [{"type": "A", "b": (1, 2)}, {}]),
        ("dict(a=dict(b=[dict(c=1)]))", None, object, {"a": {"b": [{"c": 1}]}}),
        ("dict(a=f(1))", None, object, "dict(a=f(1))"),
        ("dict(**a)", None, object, "dict(**a)"),
        ("dict([1])", None, object, "dict([1])"),
        ("dict(type='A')", "old", str, "dict(type='A')"),
        ("[(1,2),(3,4)]", None, object, [(1, 2), (3, 4)]),
        ("(0.9, 0.95)", None, object, (0.9, 0.95)),
        ("{'a': [1, 2]}", None, object, {"a": [1, 2]}),
        ("[]", [1], list, []),
        ("", "old", str, ""),
        ("a=b", "old", str, "a=b"),
    ],
)
def test_values_of_options_are_as_typed(text, current, hint, value):
    found = parse_value(text, current, frozenset(kinds_of(hint)))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("name", ["my data", "a,b", "001", "[x]", "back\\slash"])
def test_names_of_folders_reach_the_config(repository, name):
    options = [f"train_dataloader.dataset.root={name}", f"experiment_name={name}", f"load_from={name}"]
    cfg = load_config(repository / "configs/mae/vit-b_800e.py", options)
    assert [cfg.train_dataloader.dataset.root, cfg.experiment_name, cfg.load_from] == [name] * 3


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("param_scheduler={'type': 'ConstantLR'}", "param_scheduler", {"type": "ConstantLR"}),
        ("val_evaluator={'type': 'DumpResults'}", "val_evaluator", {"type": "DumpResults"}),
        ("default_hooks.sampler_seed={'type': 'X'}", "default_hooks.sampler_seed", {"type": "X"}),
        ("default_hooks.sampler_seed.type=X", "default_hooks.sampler_seed", {"type": "X"}),
        ("optim_wrapper.clip_grad.max_norm=1.0", "optim_wrapper.clip_grad", {"max_norm": 1.0}),
        ("compile.mode=default", "compile", {"mode": "default"}),
        ("fsdp={'a': 1}", "fsdp", {"a": 1}),
        ("custom_hooks.0.interval=3", "custom_hooks.0.interval", 3),
    ],
)
def test_a_dict_replaces_what_is_no_dict(write, option, key, value):
    text = "val_evaluator = []\noptim_wrapper = dict(clip_grad=None)\ncompile = True\n"
    found = load_config(write(text), [option])
    for name in key.split("."):
        found = found[int(name) if name.isdigit() else name]
    assert found == value


@pytest.mark.parametrize("option", ["param_scheduler.type=ConstantLR", "custom_hooks.interval=3"])
def test_an_option_for_a_key_of_a_list(write, option):
    place, name = option.split("=")[0].split(".")
    with pytest.raises(UsageError, match=rf"{place} holds a list of \d: name an item of it, such as {place}.0.{name}"):
        load_config(write("custom_hooks = [dict(type='EMAHook')]\n"), [option])


def test_options_win_over_data_debug_and_flags(repository, tmp_path):
    options = ["train_cfg.max_epochs=5", "init_from=mine.pth", "work_dir=here", "model.encoder.depth=3"]
    options += ["train_dataloader.batch_size=2", "optim_wrapper.dtype=bfloat16"]
    flags = {"init_from": "other.pth", "work_dir": "there", "optim_wrapper.dtype": "float16"}
    cfg, _ = load_for(repository / SHAPES, options, flags=flags, debug=True)
    assert (cfg.train_cfg.max_epochs, cfg.init_from, cfg.work_dir) == (5, "mine.pth", "here")
    assert (cfg.model.encoder.depth, cfg.train_dataloader.batch_size, cfg.optim_wrapper.dtype) == (3, 2, "bfloat16")
    assert cfg.val_dataloader.batch_size == 4  # of --debug, which no option contradicts


@pytest.mark.parametrize(("amp", "dtype"), [("bfloat16", "bfloat16"), (None, "float32")])
def test_amp_wins_over_debug(repository, amp, dtype):
    cfg, _ = load_for(repository / SHAPES, flags={"optim_wrapper.dtype": amp}, debug=True)
    assert cfg.optim_wrapper.dtype == dtype


def test_debug_sees_the_parts_that_options_choose(repository):
    options = ["model.encoder._delete_=True", "model.encoder.type=TimmEncoder", "model.encoder.img_size=64"]
    cfg, _ = load_for(repository / SHAPES, [*options, "model.encoder.name=vit_small_patch16_224"], debug=True)
    assert (cfg.model.encoder.type, cfg.model.encoder.depth, cfg.model.encoder.img_size) == ("TimmEncoder", 2, 64)
    assert "_delete_" not in cfg.model.encoder


def test_options_on_data_that_replaces_the_config_s(repository, tmp_path):
    (tmp_path / "masks").mkdir()
    place = "train_dataloader.dataset"
    segmentation = repository / "configs/segmentation/linear_vit-t_shapes.py"
    cfg, _ = load_for(segmentation, [f"{place}.zero_is_ignored=False"], str(tmp_path / "masks"))
    assert (cfg.train_dataloader.dataset.type, cfg.train_dataloader.dataset.zero_is_ignored) == (
        "SegmentationDataset",
        False,
    )
    assert not cfg.val_dataloader.dataset.zero_is_ignored  # it says what the masks are
    cfg, _ = load_for(repository / SHAPES, [f"{place}.no_such_option=1"], str(tmp_path))
    with pytest.raises(UsageError, match="no argument `no_such_option`"):
        prepare_config(cfg)


@pytest.mark.parametrize(
    "options",
    [
        ["train_dataloader.dataset.root=other"],
        ["train_dataloader.dataset.type=ImageFolderDataset"],
        ["train_dataloader.dataset.limit=5", "train_dataloader.dataset.root=other"],
        ["val_dataloader.dataset.root=other"],
        ["val_cfg.bank_dataloader.dataset.root=other"],
    ],
    ids=lambda options: options[0],
)
def test_options_leave_the_augmentation_that_data_brings(repository, tmp_path, options):
    for part in ("train", "val"):
        for kind in ("a", "b"):
            (tmp_path / part / kind).mkdir(parents=True)
            (tmp_path / part / kind / "x.png").touch()
    plain, _ = load_for(repository / SHAPES, data=str(tmp_path), adopt=False)
    assert [step["type"] for step in plain.train_dataloader.dataset.pipeline] == [
        "RandomResizedCrop",
        "RandomHorizontalFlip",
    ]
    cfg, _ = load_for(repository / SHAPES, options, str(tmp_path), adopt=False)
    plain.merge_from_dict(dict(option.split("=") for option in options if "limit" not in option))
    assert cfg.train_dataloader.dataset.pop("limit", 5) == 5
    for loader, expected in (
        (cfg.train_dataloader, plain.train_dataloader),
        (cfg.val_dataloader, plain.val_dataloader),
    ):
        assert loader.dataset == expected.dataset
    assert cfg.val_cfg.bank_dataloader.dataset == plain.val_cfg.bank_dataloader.dataset


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "config", ["mae/vit-t", "finetune/vit-t", "segmentation/linear_vit-t", "detection/vitdet_mask-rcnn_vit-t"]
)
def test_an_option_of_files_on_data_that_replaces_drawn_shapes(repository, tmp_path, config, debug):
    for part in ("train", "val"):
        (tmp_path / part / "images").mkdir(parents=True)
        (tmp_path / part / "annotations.json").write_text("{}")
    options = ["train_dataloader.dataset.max_broken=0.3", "val_dataloader.dataset.max_broken=0.2"]
    file = repository / f"configs/{config}_shapes.py"
    cfg, _ = load_for(file, options, str(tmp_path), debug=debug, adopt=False)
    assert "Shapes" not in cfg.train_dataloader.dataset.type
    assert [cfg[f"{part}_dataloader"].dataset.max_broken for part in ("train", "val")] == [0.3, 0.2]


def test_an_option_for_what_data_takes_out(repository, tmp_path):
    (tmp_path / "images").mkdir()
    options = ["val_cfg.bank_dataloader.batch_size=8"]
    with pytest.raises(UsageError, match=r"bank_dataloader.batch_size has no effect, because another option removes"):
        load_for(repository / SHAPES, options, str(tmp_path / "images"))
    cfg, _ = load_for(repository / SHAPES, ["train_dataloader.batch_size=8"], str(tmp_path / "images"))
    assert cfg.train_dataloader.batch_size == 8 and "bank_dataloader" not in cfg.val_cfg


def test_custom_imports_by_option(repository, tmp_path, monkeypatch):
    (tmp_path / "parts_by_option.py").write_text("from maetool.registry import MASKERS\nIMPORTED = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    load_config(repository / SHAPES, ["custom_imports.imports=parts_by_option"])
    assert sys.modules["parts_by_option"].IMPORTED
    with pytest.raises(UsageError, match=r"custom_imports=.*no_such_module.* failed \(ModuleNotFoundError"):
        load_config(repository / SHAPES, ["custom_imports.imports=[no_such_module]"])


# Parts of others


class Part(nn.Module):
    """A class that nobody registered."""


@pytest.fixture
def plugins():
    class OtherDataset(ShapesDataset):
        def __init__(self, source, layers, pipeline="rgb", model=None, head=None, teacher=None, codebook="file"):
            super().__init__(num_samples=8, img_size=32)
            self.given = (source, layers, pipeline, model, head, teacher, codebook)

    class OtherMasker(RandomMasker):
        def __init__(self, mask_ratio=0.75, depth=24, target=None, width=(7, 7)):
            super().__init__(mask_ratio)
            self.given = (depth, target, width)

    class TinyMasker(OtherMasker):
        debug_arguments = {"depth": 1}

    DATASETS.register_module(module=OtherDataset)
    MASKERS.register_module(module=OtherMasker)
    MASKERS.register_module(module=TinyMasker)
    yield
    DATASETS.module_dict.pop("OtherDataset")
    MASKERS.module_dict.pop("OtherMasker")
    MASKERS.module_dict.pop("TinyMasker")


def test_the_names_of_arguments_of_others_are_theirs(small, plugins):
    given = {"source": {"type": "S3Bucket"}, "layers": "all", "model": {"type": "Net"}, "head": {"type": "X"}}
    given |= {"teacher": {"type": "T"}, "pipeline": "rgb", "codebook": "file"}
    cfg = small()
    cfg.train_dataloader.dataset = {"type": "OtherDataset", **given}
    cfg.model.masker = {"type": "OtherMasker", "depth": 24, "target": {"type": "Saliency"}, "width": (7, 7)}
    shrink(cfg)
    runner = launch.build_runner(cfg)
    assert runner.bare_model.masker.given == (24, {"type": "Saliency"}, (7, 7))
    dataset = runner.build_dataloader(cfg.train_dataloader).dataset
    names = ("source", "layers", "pipeline", "model", "head", "teacher", "codebook")
    assert dataset.given == tuple(given[name] for name in names)


class OwnTarget(PixelTarget):
    """Has `grid`, which is a name of ours, for a number of its own."""

    def __init__(self, patch_size, grid: int = 7, in_chans=3):
        super().__init__(patch_size, in_chans=in_chans)
        self.grid = grid


class FreeMasker(nn.Module):
    """Takes nothing from us: its `mean` is a number, its `grid` is given."""

    def __init__(self, mean: float = 0.5, grid: Any = None, patch_size: Any = None):
        super().__init__()
        self.given = (mean, grid, patch_size)

    def num_keep(self, grid):
        return 4


class DefaultsMasker(RandomMasker):
    """Has names of ours for numbers of its own, with defaults of its own."""

    def __init__(self, mask_ratio=0.75, mean=0.5, std: float = 1.0, grid=2, num_layers: int = 7, in_chans=None):
        super().__init__(mask_ratio)
        self.given = (mean, std, grid, num_layers, in_chans)


class SameTarget(PixelTarget):
    """Has no arguments of its own, so all are maetool's."""


@pytest.fixture
def facts():
    MASKERS.register_module(module=DefaultsMasker)
    TARGETS.register_module(module=SameTarget)
    TARGETS.register_module(module=OwnTarget)
    MASKERS.register_module(module=FreeMasker)
    yield
    MASKERS.module_dict.pop("DefaultsMasker")
    TARGETS.module_dict.pop("SameTarget")
    TARGETS.module_dict.pop("OwnTarget")
    MASKERS.module_dict.pop("FreeMasker")


def test_facts_fill_what_fits_and_never_what_is_given(small, facts):
    model = small().model
    model.target = {"type": "OwnTarget"}
    model.masker = {"type": "FreeMasker", "grid": "coarse"}
    built = MODELS.build(model)
    assert (built.target.grid, built.target.patch_size) == (7, built.encoder.patch_size)
    assert built.masker.given == (0.5, "coarse", built.encoder.patch_size)


def test_facts_leave_the_defaults_of_others(small, facts, monkeypatch):
    lines = []
    monkeypatch.setattr("maetool.parts.print_log", lambda line, **_: lines.append(line), raising=False)
    model = small().model
    model.masker = {"type": "DefaultsMasker"}
    built = MODELS.build(model)
    assert built.masker.given == (0.5, 1.0, 2, 2, 3)  # layers, as annotated, and channels are the encoder's
    assert lines == ["DefaultsMasker gets num_layers=2 instead of its default 7."]
    model.masker = {"type": "DefaultsMasker", "mean": 5, "std": 2.0, "grid": 9, "num_layers": 7, "in_chans": 8}
    assert MODELS.build(model).masker.given == (5, 2.0, 9, 7, 8)


def test_arguments_that_a_subclass_inherits_are_maetool_s(small, facts):
    model = small().model
    model.target = {"type": "SameTarget"}
    assert MODELS.build(model).target.patch_size == (4, 4)
    model.target = {"type": "SameTarget", "patch_size": 8}
    with pytest.raises(UsageError, match="target has patch_size=8, but the encoder has"):
        MODELS.build(model)


def test_annotations_of_a_base_class_are_not_those_of_a_subclass():
    class Same(VisionTransformer):
        pass

    class Other(VisionTransformer):
        def __init__(self, depth=None, embed_dim: str = "wide"):
            super().__init__(16, 4, 3, 16, 1, 2)

    assert hints_of(Same)["depth"] == Count and not fits("deep", hints_of(Same)["depth"])
    assert hints_of(Other) == {"depth": Any, "embed_dim": str}


def test_what_a_list_holds_is_not_described_where_anything_fits():
    assert describe(list[Any]) == "a list" and describe(list[int]) == "a list, each an integer"


def test_a_part_of_others_says_its_small_form(small, plugins):
    cfg = small()
    cfg.model.masker = {"type": "TinyMasker"}
    shrink(cfg)
    assert cfg.model.masker == {"type": "TinyMasker", "depth": 1}


# Runners


@pytest.mark.parametrize("build", [MaetoolRunner.from_cfg, RUNNERS.build], ids=["from_cfg", "RUNNERS.build"])
def test_a_config_is_complete_without_our_tools(write, tmp_path, build):
    path = write(
        "model = dict(encoder=dict(img_size=16, patch_size=4, embed_dim=16, depth=1, num_heads=2),"
        "decoder=dict(embed_dim=16, num_heads=2))\n"
        "train_cfg = dict(max_epochs=2, val_at_start=False)\n"
        "train_dataloader = dict(batch_size=4, dataset=dict(num_samples=8))\neffective_batch_size = 8\n"
        "val_dataloader = dict(batch_size=4, dataset=dict(num_samples=4))\n"
        "val_cfg = dict(bank_dataloader=dict(batch_size=4, dataset=dict(num_samples=4)))\n"
        "patch = 2\n_unused = patch\n"
    )
    cfg = Config.fromfile(path)
    cfg.work_dir = str(tmp_path / "run")
    before = cfg.to_dict()
    runner = build(cfg)
    assert isinstance(runner, MaetoolRunner) and cfg.to_dict() == before
    assert runner.cfg.optim_wrapper.accumulative_counts == 2
    assert runner.cfg.optim_wrapper.optimizer.lr == pytest.approx(6e-3 * 8 / 256)
    runner.train()
    assert runner.iter == 4 and runner.rate.startswith("Learning rate 0.000188 = 0.006 per 256 images x 8 / 256")


def test_preparing_twice_changes_nothing(small):
    cfg = small()
    rate = prepare_config(cfg)
    once = cfg.to_dict()
    assert prepare_config(cfg) == rate
    assert cfg.to_dict() == once


class PlainModel(BaseModel):
    """A model of MMEngine's, with no encoder and none of our parts."""

    def __init__(self, width=4, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.layer = nn.Linear(3, width)

    def forward(self, images=None, data_samples=None, mode="loss", **batch):
        images = images if images is not None else batch["inputs"].float() / 255
        out = self.layer(images.mean(dim=(2, 3)))
        return {"loss": out.square().mean()} if mode == "loss" else out


@pytest.fixture
def plain_model():
    MODELS.register_module(module=PlainModel)
    yield
    MODELS.module_dict.pop("PlainModel")


def test_a_model_without_our_parts_trains(repository, tmp_path, plain_model):
    cfg = Config.fromfile(repository / RUNTIME)
    cfg.custom_hooks = []
    cfg.model = {"type": "PlainModel", "data_preprocessor": {"type": "ImagePreprocessor"}}
    cfg.train_dataloader = {
        "batch_size": 4,
        "sampler": {"type": "KeyedSampler", "shuffle": True},
        "collate_fn": {"type": "collate_samples"},
        "dataset": {"type": "ShapesDataset", "num_samples": 8, "img_size": 16},
    }
    cfg.optim_wrapper = {"type": "AutocastOptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}, "dtype": "float32"}
    cfg.param_scheduler = {"type": "ConstantLR", "factor": 0.5, "by_epoch": True}
    cfg.train_cfg, cfg.work_dir = {"type": "ResumableTrainLoop", "max_epochs": 2}, str(tmp_path)
    runner = MaetoolRunner.from_cfg(cfg)
    start = runner.bare_model.layer.weight.clone()
    runner.train()
    assert runner.iter == 4 and not torch.equal(start, runner.bare_model.layer.weight)


def test_one_scheduler_may_be_a_dict(small):
    cfg = small()
    one = cfg.param_scheduler[0].to_dict()
    cfg.param_scheduler = one
    runner = launch.build_runner(cfg)
    runner.train()
    (scheduler,) = runner.param_schedulers
    assert type(scheduler).__name__ == "WarmupCosineLR" and scheduler.last_step == 4


def test_the_rate_is_scaled_once(small):
    cfg = small()
    cfg.auto_scale_lr = {"enable": True, "base_batch_size": 8}
    with pytest.raises(UsageError, match=r"base_lr, .* and auto_scale_lr, which would scale it a second time"):
        launch.build_runner(cfg)
    cfg.pop("base_lr")
    cfg.optim_wrapper.optimizer.lr = 0.5
    cfg.param_scheduler = []
    runner = launch.build_runner(cfg)
    runner.train()
    assert runner.optim_wrapper.param_groups[0]["lr"] == pytest.approx(0.25)  # 4 of 8 images


def test_the_preprocessor_beside_the_model(small, tmp_path):
    beside = {"type": "ImagePreprocessor", "mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]}
    cfg = small()
    cfg.model.pop("data_preprocessor")
    cfg.data_preprocessor = beside
    launch.build_runner(cfg).train()
    checkpoint = tmp_path / "work" / "epoch_2.pth"
    dumped = load_config(next((tmp_path / "work").glob("*.py")))
    for model in (
        load_model(dumped, str(checkpoint)),
        load_frozen(checkpoint),
        maetool.load_encoder(checkpoint),
    ):
        assert model.data_preprocessor.mean.flatten().tolist() == [1, 2, 3]
    cfg = small()
    cfg.data_preprocessor = beside
    with pytest.raises(UsageError, match=r"data_preprocessor and model.data_preprocessor, and they differ"):
        launch.build_runner(cfg)
    cfg.model.data_preprocessor = dict(beside)
    cfg.data_preprocessor = beside
    prepare_config(cfg)


def test_the_preprocessor_beside_the_model_is_read_by_tools_that_only_load(write, tmp_path):
    text = (
        "model = dict(data_preprocessor=None)\ndata_preprocessor = dict(type='ImagePreprocessor', mean=[1.0, 2, 3])\n"
    )
    for source in (write(text), Config.fromfile(write(text)), Config.fromfile(write(text)).to_dict()):
        assert maetool.load_encoder(source).data_preprocessor.mean.flatten().tolist() == [1, 2, 3]


def test_several_optimisers(repository):
    cfg = load_config(repository / SHAPES)
    one = {"optimizer": {"type": "SGD", "lr": 0.1}}
    cfg.optim_wrapper = {"constructor": "OptimizersByPartConstructor", "a": one, "b": {**one, "parts": "encoder"}}
    cfg.param_scheduler = {"a": [{"type": "ConstantLR"}], "b": {"type": "LinearLR", "start_factor": 0.1}}
    check_config(cfg)
    cfg.param_scheduler.b.start = 1
    with pytest.raises(UsageError, match="LinearLR has no argument `start`"):
        check_config(cfg)
    cfg.optim_wrapper.b.optimizer.rate = 1
    with pytest.raises(UsageError, match="SGD has no argument `rate`"):
        check_config(cfg)


# Checkpoints


class Odd:
    """An object that no config file can hold."""


def test_a_config_survives_as_json():
    values = {"a": (1, (2.5, "x")), "b": {1: "one", (2, 3): [None, True]}, "c": RandomMasker, "d": {"__tuple__": 1}}
    stored = store_config(Config({**values, "e": float("inf"), "f": Odd(), "model": {"type": VisionTransformer}}))
    found = read_config({"config": stored, "cfg": "a = 1"})
    assert [found[name] for name in ("a", "b", "d")] == [values[name] for name in ("a", "b", "d")]
    assert (found["c"], found["e"], found["model"]) == ("RandomMasker", float("inf"), {"type": "VisionTransformer"})
    assert "Odd" in found["f"]
    assert isinstance(json.loads(stored), dict)


def test_both_forms_are_in_a_checkpoint_and_old_ones_are_read(trained):
    meta = read_checkpoint(trained)["meta"]
    both = read_section(meta, "model")
    old = read_section({"cfg": meta["cfg"]}, "model")
    assert both == old and both.encoder.img_size == (16, 16)
    assert Config.fromstring(meta["cfg"], ".py").model.type == "MaskedImageModel"  # what MMEngine's tools do
    assert read_section({"config": "[not json", "cfg": meta["cfg"]}, "model") is None


@pytest.mark.parametrize("where", [("encoder",), ("masker",), ("head", "deeper"), ("tasks", "x", "target")])
@pytest.mark.parametrize("form", ["config", "cfg"])
def test_a_stranger_s_checkpoint_imports_nothing(tmp_path, trained, monkeypatch, where, form):
    (tmp_path / "stranger.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    state = torch.load(trained, weights_only=True)
    model = read_section(state["meta"], "model").to_dict()
    node = model
    for name in where:
        node = node.setdefault(name, {})
    node["type"] = "stranger.Part"
    state["meta"].pop("config"), state["meta"].pop("cfg")
    state["meta"][form] = json.dumps({"model": model}) if form == "config" else f"model = {model!r}\n"
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"names stranger.Part, which is not registered: pass a config"):
        maetool.load_encoder(tmp_path / "other.pth")
    assert "stranger" not in sys.modules


def test_the_path_of_a_registered_class_is_its_name():
    section = ConfigDict(
        type="maetool.models.MaskedImageModel", encoder={"type": "maetool.encoders.some_old_place.VisionTransformer"}
    )
    found = trusted(section, "x")
    assert (found.type, found.encoder.type) == ("MaskedImageModel", "VisionTransformer")
    for path in ("os.system", "maetool.engine.launch.load_model", f"{__name__}.Part", "maetool.models.NoSuchModel"):
        with pytest.raises(UsageError, match="not registered"):
            trusted(ConfigDict(type=path), "x")


# Pure Python style

LAZY = """
from maetool.data import ImagePreprocessor
from maetool.decoders import TransformerDecoder
from maetool.encoders import VisionTransformer
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import MaskedImageModel
from maetool.targets import PixelTarget

model = dict(
    type=MaskedImageModel,
    data_preprocessor=dict(type=ImagePreprocessor),
    masker=dict(type=RandomMasker, mask_ratio=0.5),
    encoder=dict(type=VisionTransformer, img_size=(16, 16), patch_size=4, embed_dim=32, depth=3, num_heads=2),
    decoder=dict(type=TransformerDecoder, embed_dim=32, depth=1, num_heads=2),
    target=dict(type=PixelTarget),
    head=dict(type=RegressionHead),
)
"""
CHILD = """
from mmengine.config import read_base

with read_base():
    from .data import *
    from .model import *
    from .runtime import *
    from .schedule import *

width = 48
model.encoder.update(embed_dim=width)
model.masker.mask_ratio = 0.6
"""


@pytest.fixture
def lazy(repository, tmp_path):
    base = repository / "configs/_base_"
    names = {"data": "datasets/shapes.py", "runtime": "runtime/default.py", "schedule": "schedules/shapes.py"}
    for name, path in names.items():
        (tmp_path / f"{name}.py").write_text((base / path).read_text())
    (tmp_path / "model.py").write_text(LAZY)
    (tmp_path / "mine.py").write_text(CHILD)
    return tmp_path / "mine.py"


def test_a_config_in_pure_python_style(lazy, tmp_path):
    found = {name: (value, origin) for name, value, origin in trace(lazy)}
    assert found["model.encoder.type"] == ("VisionTransformer", f"{tmp_path / 'model.py'}:14")
    assert found["model.encoder.embed_dim"] == (48, f"{lazy}:11")
    assert found["model.masker.mask_ratio"] == (0.6, f"{lazy}:12")
    assert found["train_dataloader.dataset.img_size"] == ((16, 16), COMPUTED)
    assert not {"width", "MaskedImageModel"} & {name.split(".")[0] for name in found}
    cfg, _ = load_for(lazy, flags={"work_dir": str(tmp_path / "work")}, debug=True)
    launch.build_runner(cfg).train()
    checkpoint = tmp_path / "work" / "epoch_2.pth"
    assert maetool.load_encoder(checkpoint).section.encoder.type == "VisionTransformer"
    dumped = load_config(tmp_path / "work" / "mine.py")
    assert isinstance(load_model(dumped, str(checkpoint)), MaskedImageModel)


def test_a_class_that_nobody_registered_in_pure_python_style(tmp_path, monkeypatch):
    (tmp_path / "my_classes.py").write_text("class Mine:\n    pass\n")
    (tmp_path / "mine.py").write_text(
        "from my_classes import Mine\nfrom torch.optim import SGD\n\n"
        "model = dict(type=Mine, loss=dict(type=SGD), other=Mine)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cfg = load_config(tmp_path / "mine.py")
    import my_classes

    assert cfg.model.type is cfg.model.other is my_classes.Mine
    assert cfg.model.loss.type == "SGD"
    assert read_config({"config": store_config(cfg)})["model"]["type"] == "my_classes.Mine"
    assert "type='my_classes.Mine'" in cfg.pretty_text and "other='my_classes.Mine'" in cfg.pretty_text


def test_an_encoder_by_its_dotted_path(repository, tmp_path, monkeypatch):
    (tmp_path / "my_encoders.py").write_text(
        "from maetool.encoders import VisionTransformer\n\n\nclass Mine(VisionTransformer):\n    'Mine.'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cfg, _ = load_for(
        repository / SHAPES,
        ["model.encoder.type=my_encoders.Mine"],
        flags={"work_dir": str(tmp_path / "work")},
        debug=True,
    )
    assert cfg.model.encoder.depth == 2
    launch.build_runner(cfg).train()
    checkpoint = tmp_path / "work" / "epoch_2.pth"
    with pytest.raises(UsageError, match=r"names my_encoders.Mine, which is not registered: pass a config"):
        maetool.load_encoder(checkpoint)
    encoder = maetool.load_encoder(checkpoint, config=tmp_path / "work" / "vit-t_shapes.py").encoder
    assert type(encoder).__name__ == "Mine"


# Addresses


@pytest.fixture
def server(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    handler = partial(SimpleHTTPRequestHandler, directory=str(trained.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("key", ["load_from", "init_from"])
def test_weights_from_an_address(small, server, trained, key, capsys):
    cfg = small(**{key: f"{server}/{trained.name}"})
    cfg[key] = f"{server}/{trained.name}"
    cfg.train_cfg.max_epochs = 0
    runner = launch.build_runner(cfg)
    runner.load_or_resume()
    expected = read_checkpoint(trained)["state_dict"]
    own = runner.bare_model.state_dict()
    assert all(torch.equal(own[name], expected[name]) for name in expected if name.startswith("encoder."))
    cached = local_file(f"{server}/{trained.name}")
    assert cached.is_file() and cached.name.endswith(trained.name)


def test_addresses(server, trained):
    address = f"{server}/{trained.name}"
    assert maetool.load_encoder(address).section.encoder.depth == 2
    assert local_file(Path(address)) == local_file(address)  # pathlib drops a slash
    assert local_file(trained.as_uri()) == trained
    assert maetool.load_encoder(trained.as_uri()).section.encoder.depth == 2
    assert local_file("C:/x.pth") == Path("C:/x.pth")
    with pytest.raises(
        UsageError, match=r"no.pth cannot be downloaded \(HTTP Error 404.*download it and pass its path"
    ):
        read_checkpoint(f"{server}/no.pth")
    with pytest.raises(UsageError, match=r"s3://b/x.pth has the unsupported scheme s3: download the file"):
        read_checkpoint("s3://b/x.pth")
