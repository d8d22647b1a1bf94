"""The commands of maetool: the list of them, what messages call them, and parts of the user's in the current folder."""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_commands import parser_of
from warm import run_warm, warm_python

from maetool import commands
from maetool.commands import GROUPS, command_names, train
from maetool.engine import launch

PACKAGE = Path(commands.__file__).parents[1]
SMALL = ["train_dataloader.dataset.num_samples=16", "train_dataloader.batch_size=4", "model.encoder.depth=1"]
SMALL += ["val_dataloader.dataset.num_samples=8", "val_cfg.bank_dataloader.dataset.num_samples=8"]
SMALL += ["train_cfg.max_epochs=1", "effective_batch_size=4", "param_scheduler.0.warmup_epochs=0"]
MY_FILE = '''
from maetool.data import ShapesDataset
from maetool.maskers import Masker
from maetool.registry import MASKERS


@MASKERS.register_module()
class ColumnMasker(Masker):
    """Hides whole columns of patches, as far as the ratio allows."""

    def scores(self, rng, grid):
        h, w = grid
        return rng.uniform(w).repeat(1, h) + 1e-3 * rng.uniform(h * w)


class MyShapes(ShapesDataset):
    """Shapes, but of a class that a worker must import."""
'''


def run(folder, *command, **environment):
    command = [sys.executable, *map(str, command)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, env=environment)


def test_help_lists_every_command_once(repository):
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == command_names()
    result = run(repository, "-m", "maetool", "--help")
    rows = dict(re.findall(r"^  (\w+) {2,}(.+)$", result.stdout, re.MULTILINE))
    assert list(rows) == named
    assert [text for text in rows.values() if not re.fullmatch(r"[A-Z].{8,74}[^.:]", text)] == []
    assert run(repository, "-m", "maetool").stdout == result.stdout


@pytest.mark.parametrize("name", command_names())
def test_a_file_in_tools_starts_each_command(repository, name):
    text = (repository / "tools" / f"{name}.py").read_text()
    assert text == (repository / "tools" / "train.py").read_text().replace("train", name)


@pytest.mark.parametrize("name", ["train", "print-config", "print_config"])
def test_usage_names_the_command(repository, name):
    result = run(repository, "-m", "maetool", name, "--help")
    assert result.stdout.startswith(f"usage: maetool {name.replace('-', '_')} ")


def test_a_mistyped_command(repository):
    result = run(repository, "-m", "maetool", "tran")
    assert result.returncode == 2
    assert "There is no command `tran`; did you mean train" in result.stderr


def test_messages_name_commands_that_are_installed():
    """Not `tools/x.py`, which a checkout has and an installed package has not."""
    files = "|".join(command_names())
    of_a_checkout = rf"(?:python |tools/)\w+\.py|(?<![\w/])(?:{files})\.py\b|(?<!:)configs/\w+/\S+\.py"
    texts = {str(path): path.read_text() for path in PACKAGE.rglob("*.py")}
    assert {path: found for path, text in texts.items() if (found := re.findall(of_a_checkout, text))} == {}
    named = {name for text in texts.values() for name in re.findall(r"(?:`|run |repeat it: )maetool (\w+)", text)}
    assert named - {*command_names(), "COMMAND"} == set()


STARTS = {
    "python -m maetool": ["-m", "maetool", "train"],
    "tools/train.py": ["{repository}/tools/train.py"],
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "-m", "maetool", "train", "--launcher", "pytorch"],
}


@pytest.fixture
def my_folder(tmp_path):
    (tmp_path / "my_file.py").write_text(MY_FILE)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["--work-dir", "w"], "w_debug"),
        (["--cfg-options", "work_dir=w"], "w"),
        ([], "work_dirs/mae_vit-t_shapes_debug"),
    ],
)
def test_the_folder_of_debug_is_that_of_the_option(repository, monkeypatch, my_folder, arguments, folder):
    folders = []
    monkeypatch.chdir(my_folder)
    monkeypatch.setattr(sys, "argv", ["train", str(repository / "configs/mae/vit-t_shapes.py"), "--debug", *arguments])
    monkeypatch.setattr(launch, "build_runner", lambda cfg: folders.append(cfg.work_dir) or sys.exit(0))
    with pytest.raises(SystemExit):
        train.main()
    assert folders == [folder]


@pytest.mark.parametrize("start", STARTS)
def test_a_part_in_a_file_of_the_current_folder(repository, my_folder, start):
    begin = run if "torchrun" not in start else lambda folder, *words, **more: run_warm(words, folder, **more)
    command = [part.format(repository=repository) for part in STARTS[start]]
    command += [repository / "configs/mae/vit-t_shapes.py", "--debug", "--work-dir", "w"]
    command += ["--cfg-options", "model.masker.type=my_file.ColumnMasker"]
    result = begin(my_folder, *command, PYTHONSAFEPATH="1", PYTHONPATH=str(repository))
    assert result.returncode == 0, result.stderr[-3000:]
    assert "my_file.ColumnMasker" in (my_folder / "w_debug" / "vit-t_shapes.py").read_text()


def test_a_part_in_a_process_that_loads(repository, my_folder):
    options = ["train_dataloader.dataset.type=my_file.MyShapes", "train_dataloader.num_workers=1"]
    options += ["env_cfg.mp_cfg.mp_start_method=spawn", *SMALL]
    command = [repository / "tools/train.py", repository / "configs/mae/vit-t_shapes.py", "--work-dir", "w"]
    result = run(my_folder, *command, "--cfg-options", *options, PYTHONPATH=str(repository))
    assert result.returncode == 0, result.stderr[-3000:]
    assert (my_folder / "w" / "epoch_1.pth").is_file()


def test_dist_train_finds_a_part_in_the_current_folder(repository, my_folder):
    command = [repository / "tools/dist_train.sh", "1", repository / "configs/mae/vit-t_shapes.py", "--debug"]
    command += ["--work-dir", "w", "--cfg-options", "model.masker.type=my_file.ColumnMasker"]
    environment = {**os.environ, "PYTHON": warm_python(my_folder), "PYTHONPATH": str(repository), "PYTHONSAFEPATH": "1"}
    result = subprocess.run(command, cwd=my_folder, capture_output=True, text=True, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (my_folder / "w_debug" / "epoch_2.pth").is_file()


# A training that writes down what it is asked, and which checkpoint is its last one; the second stage fails at first.
TRAINING = """#!/usr/bin/env bash
shift
echo "$@" >>calls
[[ "$3" != */stage2 || -e again ]] || { touch again; exit 75; }
mkdir -p "$3"
echo /elsewhere/epoch_7.pth >"$3/last_checkpoint"
"""


def test_stages_teach_each_other_and_go_on_where_they_were_stopped(repository, tmp_path):
    python = tmp_path / "python"
    python.write_text(TRAINING)
    python.chmod(0o755)
    command = [repository / "tools/train_stages.sh", "2", "CONFIG", "out", "--cfg-options", "a=1"]
    codes = [
        subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHON": str(python)}, timeout=60).returncode
        for _ in range(2)
    ]
    assert codes == [75, 0]
    first = "CONFIG --work-dir out/stage1 --resume --cfg-options a=1"
    second = "CONFIG --work-dir out/stage2 --resume --cfg-options a=1 --cfg-options "
    second += "model.target.checkpoint=out/stage1/epoch_7.pth"
    assert (tmp_path / "calls").read_text().splitlines() == [first, second, first, second]
    assert subprocess.run(command[:3], capture_output=True, timeout=60).returncode == 2


@pytest.mark.parametrize("name", ["train", "test", "predict", "print_config", "fit_centroids"])
def test_options_that_are_given_twice_are_all_used(name):
    action = parser_of(f"tools/{name}.py")._option_string_actions["--cfg-options"]
    parser = argparse.ArgumentParser()
    parser._add_action(action)
    parsed = parser.parse_args(["--cfg-options", "a=1", "b=2", "--cfg-options", "c=3"])
    assert parsed.cfg_options == ["a=1", "b=2", "c=3"]
    assert parser.parse_args([]).cfg_options == []
