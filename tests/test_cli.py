"""How a tool ends."""

import subprocess
import sys

import pytest

from maetool.cli import FAILED_EXIT, run

KILLED = """
import os, signal
from torch.utils.data import DataLoader
from maetool.cli import run

class Dies:
    def __len__(self):
        return 4
    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)

run(lambda: list(DataLoader(Dies(), num_workers=1)))
"""


def test_a_loading_process_that_is_killed_is_one_sentence():
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    assert done.returncode == FAILED_EXIT
    assert "error: A process that loads images was killed (DataLoader worker" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("said", ["shapes differ", "Caught RuntimeError in DataLoader worker process 0."])
def test_other_errors_keep_their_traceback(said):
    def main():
        raise RuntimeError(said)

    with pytest.raises(RuntimeError, match=said):
        run(main)
