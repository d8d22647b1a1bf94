"""What a GPU makes of maetool: checks, and tables of speed; one markdown file, which is complete after every row.

Everything runs on a CPU too, with `--small`, so that the script itself is tested where there is no GPU.
"""

import os
import platform
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from maetool.errors import UsageError
from maetool.writing import write_text

from . import peers
from .apart import Apart, ApartError
from .gpu_checks import CHECKS
from .gpu_speed import ENCODER, OURS, RECIPES, WIDE_HEADS, Case, measured
from .photos import write_photos

_BATCHES = (256, 1024, 128, 2048)  # beside _BATCH, the most telling first
_BATCH = 512
_PHOTOGRAPHS = 64
_LONGEST = 150.0  # seconds of a check or of a table of another benchmark


def run(small: bool = False, minutes: float = 9.0, out: str | Path | None = None) -> tuple[str, dict[str, Any]]:
    """Check and measure, and return a markdown report.

    Args:
        small: of small models, a few images and steps, for a test without a GPU.
        minutes: nothing runs longer; what is left out is named.
        out: file that the report is written to, whenever there is more of it.

    Raises:
        UsageError: there is no GPU.
    """
    if not small and not torch.cuda.is_available():
        raise UsageError("benchmarks/gpu.sh needs a GPU that PyTorch can use: `--small` tries it on a CPU.")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for products that repeat to the bit
    report = Report(out, time.monotonic() + 60 * minutes)
    cases = cases_of(small)
    first = cases[: 3 if small else 12]
    with closing(Apart()) as apart:
        report.device = report.answer(apart, _describe) or "unknown"
        for check in CHECKS:
            report.checks[check.__name__.replace("_", " ")] = report.answer(apart, check)
            report.write()
        for case in first:
            report.measure(apart, case, small)
        for title, table in _tables(small).items():
            report.tables[title] = report.answer(apart, table)
            report.write()
        for case in cases[len(first) :]:
            report.measure(apart, case, small)
    report.finished = True
    report.write()
    return str(report), {"checks": report.checks, "rows": report.rows, "tables": report.tables}


class Report:
    """What is known so far.

    Args:
        out: file for it, or None.
        end: of the time that there is, by `time.monotonic()`.
    """

    def __init__(self, out: str | Path | None, end: float) -> None:
        self.out, self.end = out, end
        self.device, self.finished = "unknown", False
        self.checks: dict[str, str] = {}
        self.rows: list[dict[str, Any]] = []
        self.tables: dict[str, str] = {}
        self._spent: dict[tuple[str, str, str], tuple[int, float]] = {}

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.end - time.monotonic()

    def answer(self, apart: Apart, function: Callable[..., str], *arguments: Any) -> str:
        """Return what a function says in its process, or that it failed and why."""
        if self.left < 1:
            return "left out: no time was left"
        try:
            return apart.call(function, *arguments, seconds=min(self.left, _LONGEST))
        except ApartError as error:
            return f"FAILED: {error}"

    def measure(self, apart: Apart, case: Case, small: bool) -> None:
        """Add the row of a case, unless it would not fit into the time or the memory."""
        note, start = self._hindrance(case), time.monotonic()
        try:
            row = {"note": note} if note else apart.call(measured, case, 2 if small else 10, seconds=self.left)
        except ApartError as error:
            row = {"note": str(error)}
        if "rate" in row:
            self._spent[case.kind] = case.batch, time.monotonic() - start
        self.rows.append({**vars(case), **row})
        self.write()

    def _hindrance(self, case: Case) -> str | None:
        """Return why a case need not be tried, by what others of its kind took."""
        full = [
            row["batch"]
            for row in self.rows
            if (row["size"], row["method"], row["how"]) == case.kind and row.get("note") == "out of memory"
        ]
        if full and case.batch >= min(full):
            return f"left out: out of memory at {min(full)} already"
        batch, seconds = self._spent.get(case.kind, (case.batch, 0.0))
        expected = seconds * max(1.0, case.batch / batch)
        if self.left < max(expected, 1.0):
            return f"left out: about {expected:.0f} s of {max(self.left, 0):.0f} s that are left"
        return None

    def write(self) -> None:
        """Write the file, atomically."""
        if self.out is not None:
            write_text(self.out, str(self))

    def __str__(self) -> str:
        state = "" if self.finished else " **Not finished: the program still runs, or was ended here.**"
        lines = [f"# maetool on {self.device}", "", f"bfloat16 by autocast, one device.{state}", ""]
        lines += ["| check | result |", "|---|---|", *(f"| {title} | {said} |" for title, said in self.checks.items())]
        lines += ["", "| model | method | how | batch | images/s | of peak | GB |", "|---|---|---|---|---|---|---|"]
        lines += map(_line, self.rows)
        if absent := peers.absent():
            lines += ["", f"Not installed, and so not measured: {', '.join(absent)} (`pip install -e .[bench]`)."]
        for title, text in self.tables.items():
            lines += ["", f"## {title}", "", "```", text, "```"]
        return "\n".join(lines) + "\n"


def cases_of(small: bool) -> list[Case]:
    """Return what is measured, the most telling first, because time may end."""
    if small:
        others = [Case("vit-s", name, "eager", 2) for name in peers.ENCODERS if name in peers.names()]
        return [*(Case("vit-t", method, "eager", 4) for method in (OURS, ENCODER, WIDE_HEADS)), *others]
    sizes = ["vit-b", "vit-l"]
    every = [(OURS, how) for how in ("compiled", "eager")]
    every += [(name, "compiled") for name in peers.names()]
    every += [(ENCODER, "compiled"), (WIDE_HEADS, "compiled"), (OURS, "graphs")]
    every += [(name, "eager") for name in (*peers.names(), ENCODER)]
    every += [(OURS, how) for how in ("compiled whole", "whole graphs")]
    cases = [Case(size, method, how, _BATCH) for method, how in every for size in sizes]
    rest = [(OURS, how) for how in ("eager", "compiled", "graphs", "compiled whole", "whole graphs")]
    return cases + [Case(size, *each, batch) for each in rest for batch in _BATCHES for size in sizes]


def _line(row: dict[str, Any]) -> str:
    place = f"| {row['size']} | {row['method']} | {row['how']} | {row['batch']} |"
    if "rate" not in row:
        return f"{place} {row['note']} | | |"
    share = "" if row["share"] is None else f"{row['share']:.1%}"
    memory = "" if row["memory"] is None else f"{row['memory']:.1f}"
    return f"{place} {row['rate']:,.0f} | {share} | {memory} |"


def _describe() -> str:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"a CPU ({platform.machine()})"
    return f"{name}, PyTorch {torch.__version__}"


def _tables(small: bool) -> dict[str, Callable[[], str]]:
    """Return titles to other benchmarks, with few rounds."""
    recipe = RECIPES["vit-t" if small else "vit-b"]
    batch, steps = (4, 2) if small else (256, 20)
    return {
        "Where the time of a step goes": partial(_text, "operations", [recipe], ["bfloat16"], batch, 1),
        "A run, with its loader": partial(_run_on_photographs, recipe, batch, steps),
        "Loading, on one core": partial(_text, "loader", None, 8 if small else 64, 1),
    }


def _text(benchmark: str, *arguments: Any) -> str:
    return import_module(f"benchmarks.{benchmark}").run(*arguments)[0]


def _run_on_photographs(recipe: str, batch: int, steps: int) -> str:
    with TemporaryDirectory() as folder:
        write_photos(Path(folder), _PHOTOGRAPHS, (375, 500))
        several = list(Path(folder).iterdir())
        for number in range(len(several), batch * (steps + 3)):  # the same again, without writing it
            os.link(several[number % len(several)], Path(folder, f"again_{number}.jpg"))
        return _text("train", recipe, folder, [f"train_dataloader.batch_size={batch}"], steps, 1)
