"""Writes the page of a run at its end."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from maetool.annotations import Bounds, Count
from maetool.protocols import RunnerLike
from maetool.registry import HOOKS

_OF_A_JOB = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "TORCHELASTIC_RUN_ID",
    "MASTER_ADDR",
    "MASTER_PORT",
)


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes `report.html` to the work folder at the end of training, by `maetool report` in a process of its own.

    Args:
        images: number of validation images for neighbours, map, confusion and the worst cases.
        least_seconds: length of the training from which on the page is written: the page of a shorter one would take
            as long as the training.
    """

    priority = "LOWEST"  # after the last checkpoint

    def __init__(self, images: Count = 300, least_seconds: Annotated[float, Bounds(ge=0)] = 0.0) -> None:
        self.images = images
        self.least_seconds = least_seconds
        self._began = 0.0

    def before_train(self, runner: RunnerLike) -> None:
        """Note when the training begins."""
        self._began = time.monotonic()

    def after_train(self, runner: RunnerLike) -> None:
        """Write the page, but not of a training that was stopped; the other processes of a job do not wait."""
        lasted = time.monotonic() - self._began
        if not is_main_process() or lasted < self.least_seconds or getattr(runner, "stopped", False):
            return
        page = Path(runner.work_dir) / "report.html"
        command = [sys.executable, "-m", "maetool", "report", runner.work_dir]
        command += ["--out", str(page), "--images", str(self.images)]
        alone = {name: value for name, value in os.environ.items() if name not in _OF_A_JOB}
        done = subprocess.run(command, capture_output=True, text=True, env=alone)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
            runner.logger.warning(f"The report was not written ({last.removeprefix('error: ')}).")
        else:
            runner.logger.info("Report: %s", page)
