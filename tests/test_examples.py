"""The scripts in examples/ show what the pages say that they show."""

import json
import re
import runpy
import subprocess
import sys

import pytest

from maetool import commands, load_encoder
from maetool.data.drawn.layouts import write_shapes


@pytest.fixture(scope="module")
def half_times(repository):
    return runpy.run_path(str(repository / "examples/jepa_theory.py"))["half_times"]


def test_latents_of_two_layers_prefer_what_is_certain_and_pixels_what_is_strong(half_times):
    strong, noisy, weak, both = half_times(True, 2, 0.2, 0.08).tolist()  # certain and strong, only strong, only certain
    assert strong < weak < noisy < both
    strong, noisy, weak, both = half_times(False, 2, 0.2, 0.08).tolist()
    assert noisy < strong < both < weak


def test_latents_of_one_layer_have_no_such_preference(half_times):
    strong, noisy, weak, both = half_times(True, 1, 0.2, 0.08).tolist()
    assert noisy < strong and both < weak


@pytest.fixture
def pictures(tmp_path):
    write_shapes(tmp_path / "pictures", "classes", 64, 16, 32)
    return tmp_path / "pictures"


def test_plain_pytorch_learns(repository, pictures, tmp_path, monkeypatch, capsys):
    path = repository / "examples/plain_pytorch.py"
    words = [path, pictures, "--epochs", 3, "--size", 32, "--out", tmp_path / "encoder.pth"]
    monkeypatch.setattr(sys, "argv", [*map(str, words)])
    runpy.run_path(str(path), run_name="__main__")
    losses = [float(number) for number in re.findall(r"pretraining, epoch \d: loss ([\d.]+)", capsys.readouterr().out)]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert load_encoder(tmp_path / "encoder.pth", num_heads=3).image_shape == (3, 32, 32)


def test_lightning_trains_a_config(repository, tmp_path, monkeypatch, capsys):
    pytest.importorskip("lightning")
    path = repository / "examples/lightning_module.py"
    monkeypatch.setattr(sys, "argv", [str(path), "--epochs", "2", "--steps", "4", "--out", str(tmp_path)])
    runpy.run_path(str(path), run_name="__main__")
    file, config = re.search(r'load_encoder\("(.*)", config="(.*)"\)', capsys.readouterr().out).groups()
    assert load_encoder(file, config=config).image_shape == (3, 32, 32)


def test_the_notebook_runs(repository, tmp_path, monkeypatch, capsys):
    """Its commands run in this process, with few pictures and two epochs each."""

    started = subprocess.run

    def run(words, **options):
        if words[:3] != [sys.executable, "-m", "maetool"]:
            return started(words, **options)  # a command asks for versions
        assert options == {"check": True}
        monkeypatch.setattr(sys, "argv", words[2:])
        with pytest.raises(SystemExit) as left:
            commands.main()
        assert not left.value.code, words

    notebook = json.loads((repository / "examples/from_pictures_to_a_model.ipynb").read_text())
    assert all(not cell.get("outputs") for cell in notebook["cells"])  # none is out of date
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for full, small in (("32, 1600, 400", "32, 100, 16"), ("10, 5  # epochs", "2, 2  # epochs")):
        assert full in cells[0]
        cells[0] = cells[0].replace(full, small)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    scope = {}
    for cell in cells:
        exec(compile(cell, "notebook", "exec"), scope)
    assert len((tmp_path / "work_dirs/predictions.csv").read_text().splitlines()) == 1 + 16
    assert scope["tokens"].shape[:2] == (2, 65)


def test_the_container_is_built_from_what_there_is(repository):
    source = (repository / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (?!--)(.*)", source, re.MULTILINE) for word in line.split()[:-1]]
    ignored = (repository / ".dockerignore").read_text().splitlines()
    assert len(copied) >= 7
    for name in copied:
        assert (repository / name).exists() and f"!{name}" in ignored, name
    setup = (repository / "setup.py").read_text()
    for requirement in re.findall(r'"(torch(?:vision)?>=[\d.]+)"', source):
        assert f'"{requirement}"' in setup, requirement
    python = re.search(r"^ARG PYTHON=3\.(\d+)", source, re.MULTILINE)[1]
    assert int(python) >= int(re.search(r'python_requires=">=3\.(\d+)"', setup)[1])
    extras = re.search(r"^ARG EXTRAS=(.*)", source, re.MULTILINE)[1].split(",")
    assert all(f'"{extra}": ' in setup for extra in extras)
    assert re.search(r'ENTRYPOINT \["maetool"\]', source) and '"maetool=maetool.commands:main"' in setup
