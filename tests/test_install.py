"""The wheel works alone: built, installed without the checkout, and used from an empty folder."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from functools import partial
from pathlib import Path

import pytest
from first_hour import PAGES, Newcomer, write_photos
from PIL import Image
from warm import run_warm

OFFLINE = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--no-build-isolation"]
SOURCES = ["maetool", "configs", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CITATION.cff"]
SHAPES = "maetool::mae/vit-t_shapes.py"
THIRD_PARTY = {
    "setup.py": 'from setuptools import setup\nsetup(name="my-masks", packages=["my_masks"],'
    ' package_data={"my_masks": ["configs/*/*.py"]})\n',
    "my_masks/__init__.py": "from maetool.maskers import RandomMasker\nfrom maetool.registry import MASKERS\n\n\n"
    "@MASKERS.register_module()\nclass HalfMasker(RandomMasker):\n    'Hides half.'\n",
    "my_masks/configs/half/vit-t_shapes.py": '"""Half."""\n_base_ = ["maetool::mae/vit-t_shapes.py"]\n'
    'custom_imports = dict(imports=["my_masks"])\nmodel = dict(masker=dict(type="HalfMasker", mask_ratio=0.5))\n',
}


def pip(action, *arguments):
    """Run pip; it must leave what is installed in this environment alone, maetool above all."""
    keep = ["--ignore-installed"] if action == "install" else []
    command = [sys.executable, "-m", "pip", action, *OFFLINE, *keep, *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def source(repository, tmp_path_factory):
    """A copy of what a package is built from, so that building leaves nothing in the checkout."""
    folder = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        place = repository / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(place, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The wheel, built from the source distribution."""
    place = tmp_path_factory.mktemp("dist")
    code = f"import setuptools.build_meta as build; print(build.build_sdist({str(place)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True, timeout=120)
    (archive,) = place.glob("*.tar.gz")
    pip("wheel", "--wheel-dir", place, archive)
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder with maetool installed from the wheel, and a package of somebody else beside it."""
    place, other = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("other")
    for name, text in THIRD_PARTY.items():
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(text)
    pip("install", "--target", place, wheel, other)
    return place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An empty folder, in which everything is run."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def start(site, place):
    """Runs a program and its arguments; the other packages are those of this environment, maetool's checkout is not."""

    def run(words):
        done = run_warm(words, place, bare=True, PYTHONPATH=site, OMP_NUM_THREADS=1)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def maetool(start, site):
    """Runs the installed command, and returns what it prints."""

    def run(*arguments, code=0):
        returned, printed = start([site / "bin" / "maetool", *arguments])
        assert returned == code, printed[-3000:]
        return printed

    return run


def test_what_the_wheel_holds(repository, wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {path.relative_to(repository).as_posix() for path in (repository / "maetool").rglob("*.py")}
    configs = {path.relative_to(repository).as_posix() for path in (repository / "configs").rglob("*.py")}
    metadata = {name for name in names if ".dist-info/" in name}
    assert names - metadata == package | {f"maetool/.mim/{name}" for name in configs} | {"maetool/py.typed"}
    assert {Path(name).name for name in metadata} >= {"METADATA", "LICENSE", "entry_points.txt", "RECORD"}


def test_the_container_gets_the_same_wheel(repository, wheel, tmp_path):
    """The first stage of the Dockerfile, line by line: what it copies, and its `pip wheel`."""
    stage = (repository / "Dockerfile").read_text().split("\nFROM ")[1]
    copied = [line.split()[1:] for line in stage.splitlines() if line.startswith("COPY")]
    for *sources, place in copied:
        for name in sources:
            whole = (repository / name).is_dir()
            copy = partial(shutil.copytree, ignore=shutil.ignore_patterns("__pycache__")) if whole else shutil.copy
            copy(repository / name, tmp_path / place)
    (words,) = (line.split()[1:] for line in stage.splitlines() if line.startswith("RUN"))
    assert words[:2] == ["pip", "wheel"] and words[-3:] == ["--wheel-dir", "/wheels", "."]
    pip("wheel", *words[2:-3], "--wheel-dir", tmp_path / "wheels", tmp_path)
    (built,) = (tmp_path / "wheels").glob("maetool-*.whl")  # as the second stage names it
    contents = [{name: zipfile.ZipFile(each).read(name) for name in _files(each)} for each in (built, wheel)]
    assert contents[0] == contents[1]
    commands = [name for name in zipfile.ZipFile(built).namelist() if name.endswith("entry_points.txt")]
    assert b"maetool = maetool.commands:main" in zipfile.ZipFile(built).read(*commands)  # the container's entry point


def _files(wheel):
    """Return the names of what a wheel installs, without its metadata, which lists times and checksums."""
    return [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]


def test_what_an_index_shows(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith("METADATA"))
    metadata = message_from_string(archive.read(name).decode())
    assert metadata["Author"] == "The maetool authors"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    required = {line for line in metadata.get_all("Requires-Dist") if "extra" not in line}
    assert [line for line in required if "mmcv" in line] == []
    assert "mmcv" in metadata.get_all("Provides-Extra")
    text = metadata.get_payload()
    targets = [part.split(")")[0] for part in text.split("](")[1:]]
    assert [target for target in targets if not target.startswith("https://")] == []
    assert "masked image modelling" in text
    assert text.count("```") % 2 == 0
    assert "## Where to go on" not in text
    first = text.split("```")[1].splitlines()[1:]
    assert first[0].startswith("pip install PATH_OF_THE_WHEEL ")
    assert all(line.startswith("maetool ") for line in first[1:])
    for only_in_a_clone in ("make ", "pip install .", "tools/", "clone,"):
        assert only_in_a_clone not in text


def test_what_a_source_distribution_holds(wheel):
    (archive,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.split("/", 1)[-1] for name in file.getnames()}
    assert {"configs/mae/vit-t_shapes.py", "setup.py", "LICENSE", "CITATION.cff"} <= names
    assert [name for name in names if "__pycache__" in name] == []


def test_an_editable_installation_reads_the_checkout(source, tmp_path):
    pip("install", "--prefix", tmp_path, "--editable", source)
    (site,) = tmp_path.rglob("site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    code = f"import site, sys; site.addsitedir({str(site)!r}); sys.path += {others}\n"
    code += "import maetool.config.paths as c; print(c.__file__, c.find_config('maetool::mae/vit-t_shapes'))"
    # -S: so that an editable installation in this environment is not the one that is imported.
    command = [sys.executable, "-S", "-c", code]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=60)
    expected = [source / "maetool/config/paths.py", source / "configs/mae/vit-t_shapes.py"]
    assert result.stdout.split() == list(map(str, expected)), result.stderr


def test_it_is_the_wheel_that_runs(maetool, site, place):
    out = maetool("print_config", SHAPES, "--only", "model.masker")
    assert "maetool::_base_/models/mae.py:" in out
    assert "There is no config configs/mae/vit-t_shapes.py: near names: maetool::mae/vit-t_shapes.py" in maetool(
        "print_config", "configs/mae/vit-t_shapes.py", code=2
    )
    code = "import maetool, sys; sys.stdout.write(maetool.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    result = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, env=environment)
    assert Path(result.stdout) == site / "maetool" / "__init__.py"


def test_train_resume_export(maetool, place):
    maetool("train", SHAPES, "--debug", "--work-dir", "mae")
    (place / "mae_debug" / "epoch_2.pth").unlink()
    out = maetool("train", SHAPES, "--debug", "--work-dir", "mae", "--resume", place / "mae_debug" / "epoch_1.pth")
    assert "epoch_2.pth" in out
    maetool("export_encoder", "mae_debug/epoch_2.pth", "--out", "encoder.safetensors")
    assert (place / "encoder.safetensors").stat().st_size > 1000
    assert (place / "encoder.md").is_file()


def test_predict_with_a_classifier(maetool, place):
    maetool("train", "maetool::finetune/vit-t_shapes", "--debug", "--work-dir", "classes")
    Image.new("RGB", (40, 30), "red").save(place / "red.png")
    run = place / "classes_debug"
    maetool("predict", run / "vit-t_shapes.py", run / "epoch_2.pth", place / "red.png", "--out", "predicted")
    (found,) = json.loads((place / "predicted" / "predictions.json").read_text())
    assert found


def test_compare_two_configs(maetool, place):
    small = ["train_dataloader.dataset.num_samples=8", "train_dataloader.batch_size=4", "model.encoder.depth=1"]
    small += ["val_dataloader.dataset.num_samples=4", "val_cfg.bank_dataloader.dataset.num_samples=4"]
    small += ["train_cfg.max_epochs=2", "param_scheduler.0.warmup_epochs=1", "effective_batch_size=4"]
    arguments = [SHAPES, "my_masks::half/vit-t_shapes", "--out", "compared", "--seeds", 1, "--common", *small]
    maetool("compare", *arguments)
    table = (place / "compared" / "table.md").read_text()
    rows = list(csv.reader(table.splitlines(), delimiter="|"))
    assert [row[1].strip() for row in rows[2:]] == ["mae_vit-t_shapes", "half_vit-t_shapes"]
    config = (place / "compared" / "half_vit-t_shapes" / "seed_0" / "vit-t_shapes.py").read_text()
    assert "HalfMasker" in config


def test_a_config_of_mine_inherits(maetool, place):
    (place / "mine.py").write_text('_base_ = "my_masks::half/vit-t_shapes.py"\nbase_lr = 1e-3\n')
    maetool("train", "mine.py", "--debug", "--work-dir", "mine")
    text = (place / "mine_debug" / "mine.py").read_text()
    assert "HalfMasker" in text
    assert "mask_ratio=0.5" in text


@pytest.fixture(scope="module")
def newcomer(start, site, place, repository):
    """Somebody with a few photographs, in a folder that looks like a clone."""
    write_photos(place / "photos")
    for name in ("tools", "configs"):
        (place / name).symlink_to(repository / name)

    def run(words):
        program, *rest = words
        return start([site / "bin" / "maetool", *rest] if program == "maetool" else rest)

    return Newcomer(place, run)


@pytest.mark.parametrize("page", PAGES)
def test_the_first_hour(newcomer, page):
    assert newcomer.read(page) == []
