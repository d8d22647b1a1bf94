"""What every test shares."""

import gc
import re
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
from quick import build_runners_quickly
from slow_tests import FILES, TESTS, WAITING, WEEKLY

HERE = Path(__file__).parent


def pytest_addoption(parser):
    """Take --weekly, for tests that are left out else."""
    parser.addoption("--weekly", action="store_true", help="also the tests of WEEKLY in tests/slow_tests.py")


def pytest_collection_modifyitems(config, items):
    """Leave out the weekly tests, mark the slow ones, and let them begin first, before all those that mostly wait.

    A long test that begins last would leave the other workers idle.
    """
    if not config.getoption("--weekly"):
        left_out = re.compile("|".join(WEEKLY))
        weekly = {item: bool(left_out.search(item.nodeid)) for item in items}
        items[:] = [item for item in items if not weekly[item]]
        config.hook.pytest_deselected(items=[item for item in weekly if weekly[item]])
    for item in items:
        file = _file_of(item.path)
        if file in FILES or getattr(item, "originalname", item.name) in TESTS.get(file, ()):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: (_file_of(item.path) not in WAITING, not item.get_closest_marker("slow")))


def pytest_collection_finish():
    """Search for garbage less often, and not among what tens of thousands of tests consist of."""
    gc.freeze()
    gc.set_threshold(10_000)


@cache
def _file_of(path):
    return path.relative_to(HERE).as_posix() if path.is_relative_to(HERE) else ""


@pytest.fixture(scope="session", autouse=True)
def loss_curves_drawn_once():
    """Draw the curve of runs that log the same names once; hundreds of runs end with it, a sixth of a second each."""
    from maetool.engine.hooks import loss_curve
    from maetool.writing import write_file

    draw, drawn = loss_curve.draw_curves, {}

    def draw_once(logs, path, metrics):
        key = tuple(sorted({"loss", "val/loss", "constant_predictor", "val/masked_fraction", *metrics} & logs.keys()))
        if key not in drawn:
            draw(logs, path, metrics)
            drawn[key] = path.read_bytes()
            return
        write_file(path, lambda file: file.write(drawn[key]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_curve, "draw_curves", draw_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def runners_built_quickly():
    """Spare the runners of tests what is the same for all of them; see `quick.py`."""
    with pytest.MonkeyPatch.context() as patch:
        build_runners_quickly(patch.setattr)
        yield


@pytest.fixture(scope="session", autouse=True)
def configs_read_once():
    """Read each file of `configs` once; a thousand tests begin with one, whose bases MMEngine executes anew."""
    from mmengine import Config

    read, known = Config._file2dict, {}

    def read_once(filename, *options, **named):
        key = (str(filename), *options, *sorted(named.items()))
        if HERE.parent / "configs" not in Path(key[0]).parents:
            return read(filename, *options, **named)
        if key not in known:
            known[key] = read(filename, *options, **named)
        return deepcopy(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, "_file2dict", staticmethod(read_once))
        yield


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the reference numbers."""
    return HERE / "data"


@pytest.fixture(scope="session")
def repository():
    """Root of the repository."""
    return HERE.parent
