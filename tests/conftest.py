"""What every test shares."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the reference numbers."""
    return Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def repository():
    """Root of the repository."""
    return Path(__file__).parent.parent
