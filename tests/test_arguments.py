"""Numbers of the commands: 0 and below are refused in the same way by each, before anything is read."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from maetool import commands

OTHERS = {"--seed", "--local-rank"}  # any number, and the launcher's
CASES = [
    ("quick_eval c.pth --data x --limit 0", "--limit: got 0, but it must be at least 1"),
    ("quick_eval c.pth --data x --k 0", "--k: got 0, but it must be at least 1"),
    ("quick_eval c.pth --data x --batch-size 0", "--batch-size: got 0"),
    ("quick_eval c.pth --data x --workers -1", "--workers: got -1, but it must be at least 0"),
    ("extract_features c.pth --data x --out x.npz --batch-size -2", "--batch-size: got -2"),
    ("visualize_reconstruction c.py c.pth --num 0", "--num: got 0"),
    ("compare c.py --out x --seeds 0", "--seeds: got 0"),
    ("prepare_dataset x y --images-per-shard 0", "--images-per-shard: got 0"),
    ("prepare_dataset x y --workers 0", "--workers: got 0, but it must be at least 1"),
    ("predict c.py c.pth x.png --max-pixels 0", "--max-pixels: got 0, but it must be at least 1"),
    ("dataset_stats x --limit two", "--limit: got 'two', but it must be a whole number"),
    ("dataset_stats x --limit 1.5", "--limit: got '1.5', but it must be a whole number"),
]


@pytest.mark.parametrize(("line", "sentence"), CASES)
def test_a_number_that_makes_no_sense(monkeypatch, capsys, line, sentence):
    name, *arguments = line.split()
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as left:
        import_module(f"maetool.commands.{name}").main()
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_no_worker_is_a_number_of_workers(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["quick_eval", "c.pth", "--data", "x", "--workers", "0", "--limit", "1"])
    args = import_module("maetool.commands.quick_eval").parse_args()
    assert (args.workers, args.limit) == (0, 1)


@pytest.mark.parametrize("name", commands.command_names())
def test_no_command_takes_any_number(name):
    text = (Path(commands.__file__).parent / f"{name}.py").read_text()
    calls = text.split("add_argument(")[1:]
    loose = {re.search(r'"([\w-]+)"', call).group(1) for call in calls if "type=int" in call}
    assert loose <= OTHERS
