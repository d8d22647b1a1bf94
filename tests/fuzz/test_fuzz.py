"""A few damaged files of every kind; `make fuzz` tries many more."""

import os
import sys

import fuzz_run
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
ROUNDS = 50


@pytest.fixture(scope="module")
def results():
    return fuzz_run.run(list(filter(fuzz_run.is_possible, fuzz_run.KINDS)), ROUNDS)


@pytest.mark.parametrize("kind", fuzz_run.KINDS)
def test_damaged_files_are_right_told_or_counted(results, kind):
    if kind in fuzz_run.NEEDED:
        pytest.importorskip(fuzz_run.NEEDED[kind])
    outcomes, failures, _ = results
    assert [failure for failure in failures if failure[0] == kind] == []
    assert outcomes[kind].total() == ROUNDS and outcomes[kind]["right"] and outcomes[kind]["sentence"]


def test_the_fuzzer_notices(monkeypatch, tmp_path):
    """A kind whose cases raise, are wrong, hang, take too much memory or end the process is told as just that."""
    (tmp_path / "kind_bad.py").write_text(
        "import os\n"
        "MEMORY = 2**26\n"
        "numbers = iter(range(9))\n"
        "def make_case(rng, folder): return next(numbers)\n"
        "def try_case(case):\n"
        "    if case == 0: assert 1 == 2\n"
        "    if case == 1: raise KeyError('x')\n"
        "    if case == 2: bytes(2**28)\n"
        "    if case == 3: return 'right'\n"
        "    if case == 4: print('to the terminal')\n"
        "    if case == 4: os._exit(9)\n"
    )
    (tmp_path / "kind_slow.py").write_text(
        "import time\ndef make_case(rng, folder): pass\ndef try_case(case): time.sleep(99)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    outcomes, failures, _ = fuzz_run.run(["bad"], 5)
    assert [outcome for _, _, outcome, _ in failures] == ["wrong", "traceback", "traceback", "killed"]
    assert "MemoryError" in failures[2][3] and outcomes["bad"]["right"] == 1
    monkeypatch.setattr(fuzz_run, "_SECONDS_TO_START", 4)
    assert fuzz_run.run(["slow"], 1)[0]["slow"] == {"hang": 1}
