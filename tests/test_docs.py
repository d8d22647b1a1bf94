"""The documentation works: its Python runs; its commands and links name what there is."""

import re
import shutil
import sys
from types import ModuleType

import mmengine
import numpy as np
import pytest
import timm
import torch
import yaml
from doc_commands import braces, check_command, options_of, path_of
from doc_lines import actual_lines, count_code, stated_lines
from doc_pages import PAGES, ROOT, anchors_of, blocks_of, commands_in, is_bash, page_id, prose_of
from PIL import Image
from safetensors.torch import save_file

import maetool
from maetool.config.checks import check_config
from maetool.config.debug import shrink
from maetool.config.keys import KEYS
from maetool.config.load import load_config
from maetool.data import ShapesDataset
from maetool.encoders import VisionTransformer
from maetool.engine import launch
from maetool.errors import UsageError
from maetool.maskers import RandomMasker
from maetool.registry import MASKERS, PART_REGISTRIES

LINK = re.compile(r"(?:\]\(|(?:src|href)=\")([^)#\s\"]*)(?:#([^)\s\"]+))?[)\"]")
INLINE = re.compile(r"`(?:(?:python )?tools/(\w+)\.py|maetool (\w+))([^`]*)`")


def of_kind(path, *kinds):
    return [block for block in blocks_of(path) if block.kind in kinds and not block.not_run]


def pages_with(*kinds):
    return [path for path in PAGES if of_kind(path, *kinds)]


@pytest.fixture
def my_package(monkeypatch):
    """The package of a reader that the pages name, with the masker that they name."""
    maskers = ModuleType("my_package.maskers")
    maskers.StripeMasker = type("StripeMasker", (RandomMasker,), {})
    for name, module in {
        "my_package": ModuleType("my_package"),
        "my_package.maskers": maskers,
        "my_package.targets": ModuleType("my_package.targets"),
    }.items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A folder with what the pages name: `images`, weights with the published names, features."""
    folder, shapes = tmp_path_factory.mktemp("named"), ShapesDataset(64, 48, seed=0)
    (folder / "images").mkdir()
    for i in range(len(shapes)):
        Image.fromarray(shapes[i]["inputs"].permute(1, 2, 0).numpy()).save(folder / f"images/{i:02d}.png")
    torch.manual_seed(0)
    torch.save({"model": VisionTransformer(32, 8, 3, 192, 1, 3).state_dict()}, folder / "mae_pretrain_vit_base.pth")
    np.savez(folder / "features.npz", features=np.zeros((2, 3)), path=["a", "b"], label=[0, 1], classes=["x", "y"])
    return folder


@pytest.fixture
def place(named, tmp_path, monkeypatch):
    """A folder of one page alone, with a copy of all that."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(named, tmp_path, dirs_exist_ok=True)
    for parts in PART_REGISTRIES:
        parts.import_from_location()  # MMEngine imports them when first asked, which may be below
    registered = [(parts.module_dict, dict(parts.module_dict)) for parts in PART_REGISTRIES]
    yield tmp_path
    for now, before in registered:
        now.clear()
        now.update(before)


@pytest.mark.parametrize("path", pages_with("python", "config"), ids=page_id)
def test_python_runs(path, place, my_package):
    """Blocks run in order, as one program; whole configs train in a tiny form; parts of one name what there is."""
    scope, configs = {"__name__": "docs"}, of_kind(path, "config")
    if "vit_base_patch16_224" in path.read_text():
        save_file(timm.create_model("vit_base_patch16_224", num_classes=0).state_dict(), "encoder.safetensors")
    for block in of_kind(path, "python"):
        exec(compile("\n" * (block.line - 1) + block.text, page_id(path), "exec"), scope)
        check_fragment({name: value for name, value in scope.items() if isinstance(value, dict) and name[0] != "_"})
    for number, block in enumerate(configs):
        train(place, f"{path.stem}_{number}", block.text)


def check_fragment(fragment):
    """Check what a block assigns as parts of a config; the backbones in it are those of another toolbox's tree."""
    if "my_package.maskers" in fragment.get("custom_imports", {}).get("imports", ()):
        MASKERS.register_module(module=sys.modules["my_package.maskers"].StripeMasker)
    fragment = {name: value for name, value in fragment.items() if name in KEYS}
    backbone = fragment.get("model", {}).get("backbone")
    if "model" in fragment and not backbone:
        fragment["model"] = {"type": "MaskedImageModel", **fragment["model"]}
    check_config({name: value for name, value in fragment.items() if name != "model" or not backbone})
    if backbone:
        with torch.device("meta"):
            mmengine.MODELS.build({name: value for name, value in backbone.items() if name != "_delete_"})


def train(place, name, text):
    folder = place / "configs"
    (folder / "own").mkdir(parents=True, exist_ok=True)
    if not (folder / "_base_").exists():
        (folder / "_base_").symlink_to(ROOT / "configs/_base_")
    path = folder / "own" / f"{name}.py"
    path.write_text(text)
    cfg = load_config(path)
    shrink(cfg)
    cfg.work_dir = str(place / name)
    runner = launch.build_runner(cfg)
    runner.train()
    assert runner.iter == 4


def test_the_loop_learns_in_thirty_lines(place, capsys):
    loop = of_kind(ROOT / "docs" / "without_the_framework.md", "python")[0].text
    assert len([line for line in loop.splitlines() if line.strip() and not line.startswith(("import", "from"))]) <= 30
    torch.manual_seed(0)
    exec(compile(loop, "loop", "exec"), {"__name__": "docs"})
    losses = [float(number) for number in re.findall(r"loss ([\d.]+)", capsys.readouterr().out)]
    assert len(losses) == 5
    assert losses[-1] < 0.97 * losses[0]


@pytest.mark.parametrize("path", pages_with("bash"), ids=page_id)
def test_commands_are_taken(path, my_package):
    for block in of_kind(path, "bash"):
        for command in commands_in(block.text):
            check_command(command)


WRONG = [
    "python tools/train.py",
    "python tools/training.py configs/mae/vit-t_shapes.py",
    "python tools/train.py configs/mae/vit-t_shape.py",
    "python tools/train.py configs/mae/vit-t_shapes.py --dat FOLDERS --epochs 3",
    "python tools/train.py configs/mae/vit-t_shapes.py --cfg-options model.encoder.dept=3",
    "maetool training maetool::mae/vit-t_shapes.py",
    "maetool train maetool::mae/vit-t_shape.py",
    "maetool train other_package::mae/vit-t_shapes.py",
    "maetool train maetool::mae/vit-t_shapes.py --images FOLDER",
    "maetool train maetool::mae/vit-t_shapes.py --cfg-options model.encoder.dept=3",
    "python -m maetool.engine.processes --nproc-per-node 2 -m maetools train CONFIG",
    'python tools/compare.py CONFIG --out DIR --run "red model.masker.type=RedMasker"',
    "tools/dist_train.sh configs/mae/vit-t_shapes.py",
    "GPUS=8 tools/dist_train.sh 8 configs/mae/vit-t_shapes.py",
    "tools/train_stages.sh 2 configs/dbot/vit-t_shapes.py --data FOLDER",
    "torchrun --processes 2 tools/train.py configs/mae/vit-t_shapes.py",
    "sbatch tools/slurm_train.sh configs/mae/vit-t_shapes.py --launch",
    "sbatch --array=0-15 --wrap 'maetool prepare_dataset FOLDER OUT --parts 0/16'",
    "make everything",
    'pip install -e ".[all]"',
    "pip install maetool-extras",
    "conda install maetool",
    "python tools/train.py configs/videomae/vit-b_800e.py --data FOLDER",
]


@pytest.mark.parametrize("command", WRONG)
def test_wrong_commands_are_found(command):
    with pytest.raises((AssertionError, UsageError)):
        check_command(command)


def test_braces_are_those_of_a_shell():
    assert braces("a/{b,c}/{d,e}.py") == ["a/b/d.py", "a/b/e.py", "a/c/d.py", "a/c/e.py"]
    assert braces("{a} b") == ["{a} b"]


@pytest.mark.parametrize("path", [path for path in PAGES if INLINE.search(path.read_text())], ids=page_id)
def test_commands_within_a_line_name_what_there_is(path):
    for file, name, rest in INLINE.findall(path.read_text()):
        assert set(re.findall(r"(?<=\s)--[\w-]+", rest)) <= options_of(file or name), f"{file or name}{rest}"
        for config in re.findall(r"\w+::[\w/.-]+|configs/[\w/.-]+\.py", rest):
            assert path_of(config).is_file(), config


NAME = re.compile(r"`(maetool(?:_stripes)?::[\w/.-]+)`|\"(maetool(?:_stripes)?::[\w/.-]+)\"")


@pytest.mark.parametrize("path", [path for path in PAGES if NAME.search(path.read_text())], ids=page_id)
def test_names_of_configs_are_of_configs(path):
    for names in NAME.findall(path.read_text()):
        assert path_of(*filter(None, names)).is_file(), names


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_block_says_what_it_is(path):
    """A block is Python, commands or text: what a program prints or a file holds, and nothing to run."""
    for block in blocks_of(path):
        where = f"{page_id(path)}:{block.line}"
        assert block.kind in ("python", "config", "bash", "text"), f"{where}: fence it as python, bash or text"
        if block.kind == "text":
            assert not any(is_bash(line) for line in commands_in(block.text)), f"{where}: fence it as bash"
            assert not re.search(r"^(import|from) \w+", block.text, re.MULTILINE), f"{where}: fence it as python"


def test_few_blocks_are_not_run():
    assert sum(bool(block.not_run) for path in PAGES for block in blocks_of(path)) <= 3


METHODS = {path.stem: stated_lines(path) for path in sorted((ROOT / "docs/methods").glob("*.md"))}


@pytest.mark.parametrize("name", [name for name, stated in METHODS.items() if stated is not None])
def test_a_method_took_the_lines_that_its_page_says(name):
    stated = METHODS[name]
    assert any(each.endswith(".py") for each in stated) and stated == {each: actual_lines(each) for each in stated}


def test_pages_of_methods_say_lines():
    said = {name for name, stated in METHODS.items() if stated is not None}
    assert said >= {"adamae", "attmask", "cropmae", "everest", "mage", "satmae", "videomae"}


def test_lines_of_code_are_those_that_hold_code():
    source = (
        '"""Title.\n\nMore.\n"""\n\nimport os  # why\n\n# alone\n\ndef f(\n    x,\n):\n    """Text."""\n    return x\n'
    )
    assert count_code(source) == 5


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path):
    for link, anchor in LINK.findall(prose_of(path)):
        if link.startswith(("http://", "https://")):
            continue
        found = path.parent / link if link else path
        assert found.exists(), link
        assert not anchor or anchor in anchors_of(found), f"{link}#{anchor}"


def test_what_is_cited():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == maetool.__version__
    assert len(cited["references"]) >= 4
    for paper in cited["references"]:
        assert {"type", "title", "collection-title", "year"} <= paper.keys()
        assert all(author.keys() == {"family-names", "given-names"} for author in paper["authors"])
