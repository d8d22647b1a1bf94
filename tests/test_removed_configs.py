"""Configs that are gone: whoever names one is told in one sentence what to write instead, and that works."""

import re
import sys
from pathlib import Path

import pytest
from mmengine import Config

from maetool.config.keys import check_keys
from maetool.config.load import load_config
from maetool.config.paths import find_config
from maetool.config.removed import instead_of
from maetool.errors import UsageError

LEAVES = {
    **dict.fromkeys(["mae/vit-t_400e", "mae/vit-t_1600e"], "maetool::mae/vit-t_800e.py"),
    **dict.fromkeys(["mae/vit-s_400e", "mae/vit-s_1600e"], "maetool::mae/vit-s_800e.py"),
    **dict.fromkeys(["mae/vit-h_400e", "mae/vit-h_800e"], "maetool::mae/vit-h_1600e.py"),
}
MODELS = [f"{family}_vit-{size}" for family in ("mae", "classifier") for size in ("t", "s", "b", "l", "h", "t_shapes")]
MODELS += ["linear_vit-b", "linear_vit-t_shapes", "localmim_vit-b", "localmim_vit-t_shapes", "mff_vit-b", "beit_vit-b"]
MODELS += ["simmim_vit-b", "simmim_swin-b", "upernet_vit-b", "upernet_vit-l", "upernet_vit-t_shapes"]
MODELS += ["vitdet_vit-b", "vitdet_vit-l", "vitdet_vit-t_shapes"]


@pytest.mark.parametrize("way", ["maetool::{}.py", "maetool::{}", "configs/{}.py", "./configs/{}", "{}.py"])
@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_is_another_one_with_its_number_of_epochs(tmp_path, monkeypatch, name, way):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"There is no config .* any more: ") as info:
        load_config(way.format(name))
    sentence, epochs = str(info.value), int(re.search(r"_(\d+)e", name)[1])
    assert "\n" not in sentence
    (left,) = re.findall(r"maetool::\S+\.py", sentence.partition("any more")[2])
    (option,) = re.findall(r"--cfg-options (\S+),", sentence)
    assert (left, option) == (LEAVES[name], f"train_cfg.max_epochs={epochs}")
    assert load_config(left, [option]).train_cfg.max_epochs == epochs
    assert f"--work-dir work_dirs/{name.replace('/', '_')}." in sentence


@pytest.mark.parametrize("base", ["maetool::mae/vit-s_400e.py", "../mae/vit-s_400e.py"])
def test_a_config_that_builds_on_a_leaf(tmp_path, base):
    (tmp_path / "mine.py").write_text(f"_base_ = [{base!r}]\n")
    with pytest.raises(UsageError, match=r"maetool::mae/vit-s_800e.py .* train_cfg = dict\(max_epochs=400\)"):
        load_config(tmp_path / "mine.py")
    (tmp_path / "mine.py").write_text("_base_ = ['maetool::mae/vit-s_800e.py']\ntrain_cfg = dict(max_epochs=400)\n")
    assert load_config(tmp_path / "mine.py").train_cfg.max_epochs == 400


@pytest.mark.parametrize(
    "way", ["maetool::_base_/models/{}.py", "../_base_/models/{}.py", "/home/me/_base_/models/{}.py"]
)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_an_encoder_and_a_family(tmp_path, name, way):
    path = tmp_path / "mine.py"
    path.write_text(f"_base_ = [{way.format(name)!r}]\n")
    with pytest.raises(UsageError, match=f"There is no config .*{name}.py any more: it is now two files") as info:
        load_config(path)
    bases = re.findall(r"maetool::\S+\.py", str(info.value).partition("any more")[2])
    assert [find_config(base).parent.name for base in bases] == ["encoders", "models"]
    path.write_text(f"_base_ = {bases}\nmodel = dict(encoder=_base_.encoder)\n")
    model = load_config(path).model
    assert {"type", "data_preprocessor", "encoder"} <= set(model)
    assert "type" in model.encoder


@pytest.mark.parametrize(
    "name", ["mae/vit-x_400e.py", "maetool::mae/vit-b_80e.py", "_base_/models/mae_vit-b2.py", "vit-s_400e"]
)
def test_other_names_are_no_removed_ones(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert instead_of(name) == ""
    with pytest.raises(UsageError, match=r"There is no config .*lists all"):
        load_config(name)


def test_the_package_of_somebody_else_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("my_vits", None)
    (tmp_path / "my_vits" / "configs").mkdir(parents=True)
    (tmp_path / "my_vits" / "__init__.py").touch()
    with pytest.raises(UsageError, match=r"There is no config my_vits::mae/vit-s_400e.py: .*--package my_vits"):
        find_config("my_vits::mae/vit-s_400e.py")
    (tmp_path / "mae").mkdir()
    (tmp_path / "mae" / "vit-s_400e.py").write_text("base_lr = 1.0\n")
    monkeypatch.chdir(tmp_path)
    assert load_config("mae/vit-s_400e").base_lr == 1.0


ENCODER, MAE = "maetool::_base_/encoders/vit-b.py", "maetool::mae/vit-b_800e.py"
FAMILY = "maetool::_base_/models/mae.py"


@pytest.mark.parametrize(
    "text",
    [
        f"_base_ = [{ENCODER!r}, {FAMILY!r}]",
        f"_base_ = {MAE!r}\nencoder = dict(depth=6)",
        "encoder = dict(depth=6)\nmodel = dict(encoder=dict(type='VisionTransformer'))",
        "encoder = dict(type='VisionTransformer')\nmodel = dict(type='X')",
    ],
)
def test_an_encoder_that_no_model_takes_is_refused(tmp_path, text):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(
        UsageError, match=r"Nothing reads .*`encoder` \(did you mean `model = dict\(encoder=_base_.encoder\)`"
    ):
        load_config(tmp_path / "mine.py")


def test_an_encoder_that_a_model_has_taken(tmp_path, monkeypatch):
    """By a file, by the file that MMEngine writes of it, and by a script that has no file any more."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(f"_base_ = {MAE!r}\nmodel = dict(encoder=dict(_base_.encoder, depth=6))\n")
    expected = load_config("mine.py")
    assert (expected.model.encoder.depth, expected.model.encoder.num_heads, "encoder" in expected) == (6, 12, False)
    cfg = Config.fromfile("mine.py")
    cfg.dump("written.py")
    assert load_config("written.py").model == expected.model
    for without in (Config(cfg.to_dict()), Config(cfg.to_dict(), cfg_text="gone", filename="gone/mine.py")):
        check_keys(without)
        assert "encoder" not in without


def test_a_variable_that_is_stated_after_it_was_read_is_refused(tmp_path):
    (tmp_path / "base.py").write_text("size = 32\nmodel = dict(encoder=dict(img_size=size))\n")
    (tmp_path / "mine.py").write_text("_base_ = 'base.py'\nsize = 64\n")
    with pytest.raises(UsageError, match="Nothing reads the config's `size`"):
        load_config(tmp_path / "mine.py")
    (tmp_path / "mine.py").write_text("_base_ = 'base.py'\nsize = 64\nmodel = dict(encoder=dict(img_size=size))\n")
    assert load_config(tmp_path / "mine.py").model.encoder.img_size == 64
