"""Configs by name: `maetool::mae/vit-t_shapes.py`, in every place that takes a path."""

import sys

import pytest
from mmengine import Config

import maetool
from maetool import commands
from maetool.config.load import load_config
from maetool.config.origin import trace
from maetool.config.paths import config_names, configs_folder, find_config
from maetool.engine.sweep import rows_of
from maetool.errors import UsageError

NAME = "maetool::mae/vit-t_shapes.py"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with configs of its own, one of which inherits from maetool's."""
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("my_package", None)

    def make(place):
        folder = tmp_path / "my_package" / place / "own"
        folder.mkdir(parents=True)
        (tmp_path / "my_package" / "__init__.py").touch()
        (folder / "half.py").write_text(
            f'"""Half."""\n_base_ = ["{NAME}"]\nmodel = dict(masker=dict(mask_ratio=0.5))\n'
        )
        return folder / "half.py"

    return make


@pytest.mark.parametrize("name", [NAME, NAME.removesuffix(".py"), "configs/mae/vit-t_shapes"])
def test_a_name_is_the_file(repository, monkeypatch, name):
    monkeypatch.chdir(repository)
    assert find_config(name).resolve() == repository / "configs/mae/vit-t_shapes.py"
    assert load_config(name).to_dict() == load_config(repository / "configs/mae/vit-t_shapes.py").to_dict()


@pytest.mark.parametrize("place", ["configs", ".mim/configs"])
def test_configs_of_another_package(package, tmp_path, monkeypatch, place):
    path = package(place)
    monkeypatch.chdir(tmp_path)
    assert find_config("my_package::own/half") == path
    assert config_names("my_package") == ["my_package::own/half.py"]
    (tmp_path / "mine.py").write_text('_base_ = "my_package::own/half"\ntrain_cfg = dict(max_epochs=3)\n')
    cfg = load_config("mine.py")
    assert (cfg.model.masker.mask_ratio, cfg.train_cfg.max_epochs) == (0.5, 3)
    assert cfg.model.encoder == load_config(NAME).model.encoder
    assert Config.fromfile("mine.py").model == cfg.model
    origins = {name: origin for name, _, origin in trace("mine.py")}
    assert origins["train_cfg.max_epochs"] == "mine.py:2"
    assert origins["model.masker.mask_ratio"].startswith(f"my_package/{place}/own/half.py:")
    assert origins["model.encoder.depth"].startswith("maetool::_base_/encoders/vit-t_shapes.py:")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("maetool::mae/vit-t_shape.py", "near names: maetool::mae/vit-t_shapes.py, .*`maetool list_configs` lists all"),
        ("maetool::configs/mae/vit-t_shapes.py", "near names: maetool::mae/vit-t_shapes.py; "),
        ("maetool::vit-t_shapes", r"near names: maetool::\w+/vit-t_shapes.py, "),
        ("maetool::mae", "There is no config maetool::mae: "),
        ("maetool::", "There is no config maetool::: "),
        ("maetool::../setup.py", r"There is no config maetool::\.\./setup.py: "),
        ("configs/mae/vit-t_shapes.py", "near names: maetool::mae/vit-t_shapes.py; "),
        ("mae/vit-t_shapes", "near names: maetool::mae/vit-t_shapes.py; "),
        ("no_such_package::mae/vit-t_shapes.py", "There is no package `no_such_package`"),
        ("a::b::c.py", "There is no package `a::b`"),
        ("::mae/vit-t_shapes.py", "There is no package ``"),
        ("json::mae/vit-t_shapes.py", "The package `json` ships no configs"),
        ("maetool.engine::mae/vit-t_shapes.py", "There is no package `maetool.engine`"),
    ],
)
def test_names_of_nothing(tmp_path, monkeypatch, name, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=sentence):
        load_config(name)
    if "::" in name:
        (tmp_path / "mine.py").write_text(f"_base_ = [{name!r}]\n")
        with pytest.raises(UsageError, match=sentence):
            load_config("mine.py")


def test_packages_of_openmmlab_are_left_to_mmengine(tmp_path):
    (tmp_path / "mine.py").write_text('_base_ = "mmflow::own/x.py"\n')
    with pytest.raises(UsageError, match="mmflow is not installed"):
        load_config(tmp_path / "mine.py")


def test_names_in_every_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(rows_of([NAME, "maetool::knn/vit-t_shapes"], {})) == ["mae_vit-t_shapes", "knn_vit-t_shapes"]
    assert load_config(NAME).work_dir == "work_dirs/mae_vit-t_shapes"
    for source in (NAME, NAME.removesuffix(".py")):
        assert maetool.load_encoder(source).encoder.grid == (8, 8)


def test_every_config_has_a_name_and_a_title(repository, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["maetool", "list_configs"])
    with pytest.raises(SystemExit) as left:
        commands.main()
    rows = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
    leaves = {path for path in (repository / "configs").rglob("*.py") if "_base_" not in path.parts}
    assert left.value.code == 0
    assert {find_config(name).resolve() for name, _ in rows} == leaves
    assert all(title for _, title in rows)
    assert configs_folder("maetool") == repository / "configs"


def test_configs_are_listed_by_words(package, capsys, monkeypatch):
    package("configs")

    def listed(*words):
        monkeypatch.setattr(sys, "argv", ["maetool", "list_configs", *words])
        with pytest.raises(SystemExit):
            commands.main()
        written = capsys.readouterr()
        return [line.split()[0] for line in written.out.splitlines()], written.err

    names, _ = listed("simmim", "SWIN", "800 epochs")
    assert names == ["maetool::simmim/swin-b_800e.py"]
    assert listed("--package", "my_package") == (["my_package::own/half.py"], "")
    assert "No config of maetool has swin and audio in its name or title" in listed("swin", "audio")[1]
