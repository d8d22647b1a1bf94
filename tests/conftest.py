"""What every test shares."""

from pathlib import Path

import pytest
from slow_tests import FILES, TESTS

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Mark the slow tests."""
    for item in items:
        if item.path.is_relative_to(HERE):
            file = item.path.relative_to(HERE).as_posix()
            if file in FILES or getattr(item, "originalname", item.name) in TESTS.get(file, ()):
                item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the reference numbers."""
    return HERE / "data"


@pytest.fixture(scope="session")
def repository():
    """Root of the repository."""
    return HERE.parent
