import pytest
from people_data import Data


@pytest.fixture
def data(tmp_path):
    """Writes a data set to `data.root`."""
    return Data(tmp_path / "data")
