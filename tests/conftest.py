"""What every test shares."""

import re
from pathlib import Path

import pytest
from slow_tests import FILES, TESTS, WAITING, WEEKLY
from yapf.yapflib import yapf_api

HERE = Path(__file__).parent
_laid_out, _lay_out = {}, yapf_api.FormatCode


def lay_out_once(text, **options):
    """Lay out a text as code as yapf does; a run asks for its config five times, a tenth of a second each."""
    key = (text, repr(options))
    if key not in _laid_out:
        _laid_out[key] = _lay_out(text, **options)
    return _laid_out[key]


yapf_api.FormatCode = lay_out_once


def pytest_addoption(parser):
    """Take --weekly, for tests that are left out else."""
    parser.addoption("--weekly", action="store_true", help="also the tests of WEEKLY in tests/slow_tests.py")


def pytest_collection_modifyitems(config, items):
    """Leave out the weekly tests, mark the slow ones, and let those that mostly wait begin first."""
    if not config.getoption("--weekly"):
        weekly = [item for item in items if any(re.search(pattern, item.nodeid) for pattern in WEEKLY)]
        items[:] = [item for item in items if item not in weekly]
        config.hook.pytest_deselected(items=weekly)
    for item in items:
        file = _file_of(item)
        if file in FILES or getattr(item, "originalname", item.name) in TESTS.get(file, ()):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: _file_of(item) not in WAITING)


def _file_of(item):
    return item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""


@pytest.fixture(scope="session", autouse=True)
def loss_curves_drawn_once():
    """Draw the curve of runs that log the same names once; hundreds of runs end with it, a sixth of a second each."""
    from maetool.engine.hooks import loss_curve
    from maetool.writing import write_file

    draw, drawn = loss_curve.draw_curves, {}

    def draw_once(logs, path, metrics):
        key = (*sorted(logs), None, *sorted(metrics))
        if key not in drawn:
            draw(logs, path, metrics)
            drawn[key] = path.read_bytes()
            return
        write_file(path, lambda file: file.write(drawn[key]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_curve, "draw_curves", draw_once)
        yield


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the reference numbers."""
    return HERE / "data"


@pytest.fixture(scope="session")
def repository():
    """Root of the repository."""
    return HERE.parent
