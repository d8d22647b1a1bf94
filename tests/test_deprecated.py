"""Names that moved keep working for one minor version, and say where they went."""

import ast
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import maetool
from maetool._deprecated import moved
from maetool.engine.runner import MaetoolRunner
from maetool.maskers import RandomMasker

PACKAGE = Path(maetool.__file__).parent


@pytest.fixture
def old_module(monkeypatch):
    module = ModuleType("old_place")
    module.stays = 1
    module.__getattr__ = moved("old_place", {"Hider": "maetool.maskers.RandomMasker"}, "0.3.0")
    monkeypatch.setitem(sys.modules, "old_place", module)
    return module


def test_an_old_name_is_the_new_object(old_module):
    message = r"^old_place\.Hider is now maetool\.maskers\.RandomMasker; maetool 0\.3\.0 removes the old name\.$"
    with pytest.warns(DeprecationWarning, match=message) as caught:
        from old_place import Hider
    assert Hider is RandomMasker
    assert {warning.filename for warning in caught} == {__file__}  # the line to change
    assert old_module.stays == 1


def test_other_names_are_missing_as_ever(old_module):
    with pytest.raises(AttributeError, match="module 'old_place' has no attribute 'hider'"):
        _ = old_module.hider
    assert not hasattr(old_module, "__path__")


def test_the_shims_of_this_version():
    from maetool.compat import STOP_SIGNALS

    with pytest.warns(DeprecationWarning, match=r"maetool\.engine\.stopping\.SIGNALS is now"):
        from maetool.engine.stopping import SIGNALS
    assert SIGNALS == STOP_SIGNALS


def shims():
    """Return the file, the names and the last version of every shim in maetool."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "moved":
                yield path, ast.literal_eval(node.args[1]), ast.literal_eval(node.args[2])


def test_shims_lead_somewhere_and_end_in_time():
    def numbers(version):
        return [int(number) for number in re.findall(r"\d+", version)]

    for path, names, removed_in in shims():
        for new in names.values():
            module, _, name = new.rpartition(".")
            assert hasattr(importlib.import_module(module), name), f"{path}: {new}"
        assert numbers(maetool.__version__) < numbers(removed_in), f"{path}: the shim has had its time"


def test_the_text_of_a_config():
    text = "model = dict(encoder=dict(depth=2))\nbase_lr = 0.1\n"
    with pytest.warns(DeprecationWarning, match=r"read_values is now maetool\.metadata\.stored_config\.read_text"):
        from maetool.engine.config_text import read_values
    assert read_values(text) == {"model": {"encoder": {"depth": 2}}, "base_lr": 0.1}
    from maetool.engine.config_text import read_section

    with pytest.warns(DeprecationWarning, match="stored_config.read_section"):
        assert read_section(text, "model").encoder.depth == 2
    with pytest.warns(DeprecationWarning, match=r"runner\.cfg\.pretty_text"):
        assert MaetoolRunner.config_text.fget(SimpleNamespace(cfg=SimpleNamespace(pretty_text=text))) == text


def test_attributes_with_new_names():
    from maetool.evaluation.objects import DetectionValLoop
    from maetool.installation.packages import OK, Finding
    from maetool.pretrained.predict import Prediction
    from maetool.weights.formats.mae import NAMES

    with pytest.warns(DeprecationWarning, match=r"Finding\.found is now Finding\.detail; maetool 0\.3\.0 removes"):
        assert Finding(OK, "torch", "2.0").found == "2.0"
    with pytest.warns(DeprecationWarning, match=r"Prediction\.told is now Prediction\.record"):
        assert Prediction(np.zeros((1, 1, 3), np.uint8), {"image": "x"}).told == {"image": "x"}
    with pytest.warns(DeprecationWarning, match=r"KeyMap\.ours is now KeyMap\.own_name"):
        assert NAMES.ours("cls_token") == "encoder.cls_token"
    with pytest.warns(DeprecationWarning, match=r"KeyMap\.theirs is now KeyMap\.other_name"):
        assert NAMES.theirs("encoder.cls_token") == "cls_token"
    loop = SimpleNamespace(detections=[1])
    with pytest.warns(DeprecationWarning, match=r"DetectionValLoop\.found is now DetectionValLoop\.detections"):
        assert DetectionValLoop.found.fget(loop) == [1]


def test_methods_and_functions_with_new_names():
    with pytest.warns(DeprecationWarning, match=r"tells_of_killed_loader is now maetool\.errors\.is_killed_loader"):
        from maetool.errors import tells_of_killed_loader
    assert tells_of_killed_loader(RuntimeError("DataLoader worker (pid 3) is killed by signal"))
    runner = SimpleNamespace(full_state_dict=lambda everywhere: {"everywhere": everywhere})
    with pytest.warns(DeprecationWarning, match=r"MaetoolRunner\.whole_weights is now full_state_dict"):
        assert MaetoolRunner.whole_weights(runner, everywhere=True) == {"everywhere": True}


PUBLIC = (Path(__file__).parent / "data" / "public_names_0.1.0.txt").read_text().split()


def resolve(place):
    module, _, name = place.partition(":")
    found = importlib.import_module(module)
    for part in name.split(".") if name else ():
        found = getattr(found, part)
    return found


def is_removed(place, repository):
    text = (repository / "docs" / "changelog.md").read_text()
    removed = re.search(r"(?ms)^### Removed$(.*?)^##", text)[1]
    names = re.findall(r"(?m)^- `(maetool[\w.]+)`: ", removed)
    return any(f"{place.replace(':', '.')}.".startswith(f"{name}.") for name in names)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_public_name_of_the_last_release_is_there_or_listed_as_removed(repository):
    assert len(PUBLIC) > 1000
    for place in PUBLIC:
        try:
            resolve(place)
        except (ImportError, AttributeError):
            assert is_removed(place, repository), f"{place} is gone: add a shim, or list it under Removed"
