"""Times maskers, loading, steps and reading, beside other libraries; see benchmarks/command.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are no part of the package

from benchmarks.command import main
from maetool.cli import run

if __name__ == "__main__":
    run(main, "Stopped.")
