"""What every test shares."""

from pathlib import Path

import pytest
from slow_tests import FILES, TESTS, WAITING

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Mark the slow tests, and let those that mostly wait begin first."""
    for item in items:
        file = _file_of(item)
        if file in FILES or getattr(item, "originalname", item.name) in TESTS.get(file, ()):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: _file_of(item) not in WAITING)


def _file_of(item):
    return item.path.relative_to(HERE).as_posix() if item.path.is_relative_to(HERE) else ""


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the reference numbers."""
    return HERE / "data"


@pytest.fixture(scope="session")
def repository():
    """Root of the repository."""
    return HERE.parent
