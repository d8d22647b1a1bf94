"""Objects beside weights are passed over without their code, and what only attacks hold is refused."""

import builtins
import collections
import datetime
import decimal
import enum
import functools
import logging
import pathlib
import subprocess
import sys
import types
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from maetool.errors import UsageError
from maetool.weights import unwrap
from maetool.weights.inert import Inert
from maetool.weights.read import read_checkpoint, weights_of

WEIGHTS = {"encoder.cls_token": torch.arange(4.0), "encoder.norm.bias": torch.ones(3)}
NAME = "not_installed.config"


class CfgNode(dict):
    def __setstate__(self, state):
        raise AssertionError("this ran")


class Node:
    """As omegaconf's containers: entries in attributes, and a parent that makes a circle."""

    def __init__(self):
        self._content, self._parent = {"a": [1]}, self


class Entries(list):
    pass


class Colour(enum.Enum):
    RED = 1


@dataclass
class Recipe:
    sizes: list = field(default_factory=lambda: [1, 2])


def some_function():
    raise AssertionError("this ran")


CLASSES = {cls.__name__: cls for cls in (CfgNode, Node, Entries, Colour, Recipe, some_function)}
OBJECTS = {
    "yacs": lambda: CfgNode(a=1, b=CfgNode(c=2)),
    "omegaconf": Node,
    "list": lambda: Entries([1, 2]),
    "enum": lambda: Colour.RED,
    "enum as key": lambda: {Colour.RED: 1, (Colour.RED, 2): 3},
    "dataclass": Recipe,
    "function": lambda: some_function,
    "partial": lambda: functools.partial(Recipe, [3]),
    "path": lambda: pathlib.Path("a/b"),
    "windows path": lambda: pathlib.PureWindowsPath("a/b"),
    "numpy scalar": lambda: np.float64(3.5),
    "numpy array": lambda: np.arange(3),
    "time": lambda: datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
    "duration": lambda: datetime.timedelta(3),
    "decimal": lambda: decimal.Decimal("3.5"),
    "default": lambda: collections.defaultdict(list, {"a": [1]}),
    "slice": lambda: slice(1, 2),
    "namespace": lambda: types.SimpleNamespace(a=CfgNode(a=1)),
}


@pytest.fixture
def not_installed(monkeypatch):
    """Lets the classes be of a module that is there while files are written."""
    module = types.ModuleType(NAME)
    monkeypatch.setitem(sys.modules, "not_installed", types.ModuleType("not_installed"))
    monkeypatch.setitem(sys.modules, NAME, module)
    for name, part in CLASSES.items():
        monkeypatch.setattr(part, "__module__", NAME)
        setattr(module, name, part)

    def forget():
        monkeypatch.delitem(sys.modules, NAME)
        monkeypatch.delitem(sys.modules, "not_installed")

    return forget


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_objects_beside_weights_are_passed_over(tmp_path, caplog, not_installed, make, zipped):
    unwrap.say.cache_clear()
    path, content = tmp_path / "x.pth", {"config": make(), "model": WEIGHTS, "epoch": 3, "nested": {"a": [make()]}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    not_installed()
    with caplog.at_level(logging.WARNING, "maetool"):
        state = read_checkpoint(path)
    assert state["epoch"] == 3
    assert weights_of(state, path).keys() == WEIGHTS.keys()
    assert all(torch.equal(value, WEIGHTS[name]) for name, value in weights_of(state, path).items())
    assert "objects beside the weights were passed over" in caplog.text
    assert NAME not in sys.modules


def test_a_mapping_of_another_class_keeps_its_items(tmp_path, not_installed):
    torch.save(CfgNode(model=CfgNode(WEIGHTS)), tmp_path / "x.pth")
    not_installed()
    assert weights_of(read_checkpoint(tmp_path / "x.pth"), "x.pth").keys() == WEIGHTS.keys()


def test_a_pickled_module_is_refused_with_the_line_that_keeps_its_weights(tmp_path):
    torch.save({"model": torch.nn.Sequential(torch.nn.Linear(2, 2))}, tmp_path / "x.pth")
    with pytest.raises(UsageError, match=r"keep the weights alone.*with \.state_dict\(\) after it if it is a module"):
        read_checkpoint(tmp_path / "x.pth")


class Calls:
    def __init__(self, function, *args):
        self.what = function, args

    def __reduce__(self):
        return self.what


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("function", [subprocess.call, builtins.eval, builtins.exec, builtins.open, builtins.print])
def test_attacks_are_refused(tmp_path, capsys, function, zipped):
    torch.save({"model": WEIGHTS, "x": Calls(function, "x")}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UsageError, match="could run code, so it is refused"):
        read_checkpoint(tmp_path / "x.pth")
    assert not capsys.readouterr().out


def test_functions_of_libraries_are_not_called(tmp_path):
    torch.save({"model": WEIGHTS, "x": Calls(torch.save, {}, str(tmp_path / "ran"))}, tmp_path / "x.pth")
    assert isinstance(read_checkpoint(tmp_path / "x.pth")["x"], Inert)
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_class_are_refused(tmp_path, not_installed):
    torch.save({"model": {**WEIGHTS, "encoder.norm.weight": Recipe()}}, tmp_path / "x.pth")
    not_installed()
    with pytest.raises(UsageError, match=r"1 weights as objects of other classes .*\(encoder\.norm\.weight\)"):
        weights_of(read_checkpoint(tmp_path / "x.pth"), "x.pth")
