"""Every leaf config trains in a shrunk form, and the full-size ones say what the paper says."""

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from mmengine import Config

from maetool.config.debug import shrink
from maetool.config.load import complete_config, load_config
from maetool.engine import launch
from maetool.errors import UsageError
from maetool.visualization.curves import read_logs

CONFIGS = Path(__file__).parent.parent / "configs"
LEAVES = sorted(path for path in CONFIGS.rglob("*.py") if "_base_" not in path.parts)
MEASURE = [path for path in LEAVES if path.parent.name == "knn"]  # and train nothing
FULL = [path for path in LEAVES if path.parent.name in ("mae", "colormae") and path.stem.endswith("0e")]


def leaf_id(path):
    return str(path.relative_to(CONFIGS))


def parts_of(section, place="model"):
    """Return the name of every part in a section, by its place; but for teachers, which are made like the encoder."""
    inside = {name: value for name, value in section.items() if isinstance(value, Mapping) and name != "teacher"}
    below = [parts_of(value, f"{place}.{name}") for name, value in inside.items()]
    return dict({place: section.get("type")}.items() | {item for parts in below for item in parts.items()})


def shorten(cfg):
    """Return the number of epochs, of two iterations each: one where the schedule can do without its warm-up."""
    first = cfg.param_scheduler[0] if isinstance(cfg.param_scheduler, list) else {}
    if "warmup_epochs" not in first:
        return 2
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    first.warmup_epochs = 0
    return 1


@pytest.mark.parametrize("path", [path for path in LEAVES if path not in MEASURE], ids=leaf_id)
def test_runs_in_a_tiny_form(path, tmp_path):
    cfg = load_config(path)
    parts = parts_of(cfg.model)
    shrink(cfg)
    assert parts_of(cfg.model) == parts
    cfg.work_dir = str(tmp_path)
    epochs = shorten(cfg)
    runner = launch.build_runner(cfg)
    assert sum(parameter.numel() for parameter in runner.bare_model.parameters()) < 9_000_000
    assert len(runner.train_dataloader.dataset) == 8
    runner.train()
    assert runner.iter == 2 * epochs
    assert read_logs(tmp_path)["loss"][2 * epochs] > 0
    assert (tmp_path / f"epoch_{epochs}.pth").is_file()
    draws = "decoder" in cfg.model and runner.bare_model.target.invertible
    assert (tmp_path / "reconstructions" / f"epoch_{epochs}.png").is_file() == draws


@pytest.mark.parametrize("path", MEASURE, ids=leaf_id)
def test_an_evaluation_measures_and_trains_nothing(path, tmp_path):
    cfg = load_config(path)
    shrink(cfg)
    cfg.work_dir = str(tmp_path)
    runner = launch.build_runner(cfg)
    assert 0 <= runner.val().pop("knn") <= 100
    with pytest.raises(UsageError, match=f"{path} defines an evaluation and no training: run maetool test "):
        launch.need_training(cfg)


@pytest.mark.parametrize("path", LEAVES, ids=leaf_id)
def test_opens_with_a_docstring_that_names_its_command(path):
    text = path.read_text()
    assert text.startswith('"""')
    assert f"python tools/{'test' if path in MEASURE else 'train'}.py {path.relative_to(CONFIGS.parent)}" in text


def test_what_all_recipes_share_stands_once():
    """On a page, which the docstrings of recipes with deviations name."""
    page = (CONFIGS.parent / "docs/methods/README.md").read_text()
    section = page.partition("## What all recipes share\n")[2].partition("\n## ")[0]
    assert "bfloat16" in section and "(seed, epoch, image)" in section
    docstrings = {leaf_id(path): " ".join(ast.get_docstring(ast.parse(path.read_text())).split()) for path in LEAVES}
    assert [name for name, text in docstrings.items() if "bfloat16" in text or "(seed, epoch, image)" in text] == []
    deviations = {name: text.partition("Deviations")[2] for name, text in docstrings.items()}
    of_published_code = {name: text for name, text in deviations.items() if text and ".py" not in text}
    shared = "those that all recipes share (docs/methods/README.md)"
    assert [name for name, text in of_published_code.items() if shared not in text] == []
    assert of_published_code


def test_what_has_no_published_number_is_not_quoted():
    texts = {leaf_id(path): path.read_text() for path in LEAVES}
    expected = {
        name: " ".join(text.partition("\nExpect: ")[2].partition("\nDev")[0].split()) for name, text in texts.items()
    }
    assert [n for n, text in expected.items() if "quoted" in text and not any(map(str.isdigit, text))] == []
    assert "quoted" not in expected["finetune/vit-t_100e.py"]


@pytest.mark.parametrize("path", FULL, ids=leaf_id)
@pytest.mark.parametrize("world_size", [1, 8])
def test_recipe_is_that_of_the_paper(path, world_size):
    cfg = load_config(path)
    complete_config(cfg, world_size)
    accumulation = cfg.optim_wrapper.accumulative_counts
    assert world_size * cfg.train_dataloader.batch_size * accumulation == 4096
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(2.4e-3)
    assert cfg.optim_wrapper.optimizer.betas == (0.9, 0.95)
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.05
    assert cfg.optim_wrapper.get("clip_grad") is None
    assert cfg.param_scheduler[0].warmup_epochs == 40
    assert cfg.param_scheduler[0].accumulation == accumulation
    assert cfg.train_cfg.max_epochs == int(path.stem.split("_")[1][:-1])
    crop, flip = cfg.train_dataloader.dataset.pipeline
    assert crop == {"type": "RandomResizedCrop", "scale": (0.2, 1.0), "ratio": (3 / 4, 4 / 3), "size": (224, 224)}
    assert flip == {"type": "RandomHorizontalFlip", "p": 0.5}
    assert cfg.model.masker.get("mask_ratio", 0.75) == 0.75
    assert cfg.model.decoder == {"type": "TransformerDecoder", "embed_dim": 512, "depth": 8, "num_heads": 16}


@pytest.mark.parametrize(("arch", "count"), [("b", 111_907_840), ("l", 329_541_888), ("h", 657_074_508)])
def test_parameter_counts_are_the_published_ones(arch, count):
    cfg = load_config(CONFIGS / f"mae/vit-{arch}_1600e.py")
    complete_config(cfg)
    with torch.device("meta"):
        model = _on_meta(cfg)
    ours = sum(p.numel() for p in model.parameters()) + model.decoder.pos_embed.numel()
    assert ours == count


def _on_meta(cfg: Config):
    from maetool.registry import MODELS

    model = dict(cfg.model)
    model.pop("data_preprocessor")
    return MODELS.build(model)


@pytest.mark.parametrize(
    ("name", "rate", "epochs", "decay", "drop_path"),
    [("b_100e", 2e-3, 100, 0.65, 0.1), ("l_50e", 4e-3, 50, 0.75, 0.2), ("h_50e", 4e-3, 50, 0.75, 0.3)],
)
def test_fine_tuning_is_that_of_the_paper(name, rate, epochs, decay, drop_path):
    cfg = load_config(CONFIGS / f"finetune/vit-{name}.py")
    complete_config(cfg, world_size=8)
    assert 8 * cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts == 1024
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)
    assert cfg.optim_wrapper.optimizer.betas == (0.9, 0.999)
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.05
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay == decay
    assert (cfg.param_scheduler[0].warmup_epochs, cfg.param_scheduler[0].min_lr) == (5, 1e-6)
    assert cfg.train_cfg.max_epochs == epochs
    model = cfg.model
    assert model.encoder.drop_path_rate == drop_path
    assert (model.pooling, model.own_norm, model.head_std, model.label_smoothing) == ("avg", True, 2e-5, 0.1)
    mixing = model.data_preprocessor
    assert (mixing.mixup_alpha, mixing.cutmix_alpha, mixing.erase_prob) == (0.8, 1.0, 0.25)
    crop, flip, colours = cfg.train_dataloader.dataset.pipeline
    assert (crop.type, crop.scale, flip.p, colours.policy) == (
        *("RandomResizedCrop", (0.08, 1.0), 0.5),
        "rand-m9-mstd0.5-inc1",
    )


@pytest.mark.parametrize(("name", "epochs"), [("b_90e", 90), ("l_50e", 50), ("h_50e", 50)])
def test_linear_probe_is_that_of_the_paper(name, epochs):
    cfg = load_config(CONFIGS / f"linear_probe/vit-{name}.py")
    complete_config(cfg, world_size=8)
    assert 8 * cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts == 16384
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.momentum, optimizer.weight_decay) == ("LARS", 0.9, 0.0)
    assert optimizer.lr == pytest.approx(6.4)
    assert (cfg.param_scheduler[0].warmup_epochs, cfg.train_cfg.max_epochs) == (10, epochs)
    assert (cfg.model.pooling, cfg.model.frozen, cfg.model.batch_norm) == ("cls", True, True)
    assert [transform.type for transform in cfg.train_dataloader.dataset.pipeline] == [
        "SingleDrawCrop",
        "RandomHorizontalFlip",
    ]


@pytest.mark.parametrize(("name", "count"), [("b_100e", 86_567_656), ("l_50e", 304_326_632), ("h_50e", 632_045_800)])
def test_parameter_counts_of_fine_tuned_models(name, count):
    cfg = load_config(CONFIGS / f"finetune/vit-{name}.py")
    complete_config(cfg)
    with torch.device("meta"):
        model = _on_meta(cfg)
    assert sum(p.numel() for p in model.parameters()) == count
