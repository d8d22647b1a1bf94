"""From a folder of images to a trained encoder and what it is worth, within a number of minutes."""

import json
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from maetool.cli import STARTED, StoppedError
from maetool.config.load import load_for
from maetool.config.origin import trace
from maetool.engine.launch import build_runner
from maetool.engine.run_lock import only_run_in
from maetool.errors import UsageError
from maetool.messages import plural
from maetool.pretrained.frozen import build_frozen
from maetool.reports.command import Command, record_command
from maetool.reports.run import run_page
from maetool.visualization import html
from maetool.weights.work_dir import checkpoints_in
from maetool.writing import check_folder, write_text

from .data import Data, look
from .facts import Facts
from .halving import halve, rounds_of
from .judge import Judge, Verdict
from .plan import Plan
from .rules import Machine, candidates, first_plan, longest, schedule
from .short import quiet, train_short
from .worth import next_commands, worth_of

_TRYING, _JUDGING = 0.25, 0.1  # shares of the minutes
_TIMED = 25  # steps whose time is taken
_LATE = 1.2  # times the planned time, after which a training ends with what there is


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        folder: the images.
        labels: labelled images of their own, or None.
        task: "classify", "retrieve", "segment" or "detect".
        minutes: for everything.
        out: folder of the plan and of the training.
        workers: threads that look at the images.
        max_pixels: largest number of pixels of an image; None for the default.
    """

    folder: str
    labels: str | None
    task: str
    minutes: float
    out: Path
    workers: int = 1
    max_pixels: int | None = None


class Auto:
    """Looks, plans, tries, trains and judges.

    Args:
        request: what is asked for.
        tell: called with each line for the user.

    Raises:
        UsageError: images, labels or a folder that cannot be used.
    """

    def __init__(self, request: Request, tell: Any = print) -> None:
        self.request, self._tell = request, tell
        self._told: list[str] = []
        self.out = check_folder(request.out, "--out")
        self.plan_path, self.run_dir = self.out / "plan.py", self.out / "run"
        self._began = time.monotonic()

    def run(self, resume: bool, only_plan: bool) -> None:
        """Do all that is left to do.

        Args:
            resume: go on with what an earlier call left in the folder.
            only_plan: stop when the plan is written.
        """
        self._check_folder(resume)
        data = self._look()
        with only_run_in(str(self.out)):  # only now, so that what is refused leaves no folder
            self._check_folder(resume)
            write_text(self.out / "request.json", json.dumps(self._asked()) + "\n")
            self._say_facts(data)
            if not (resume and self.plan_path.is_file()):
                self._write_plan(data, only_plan)
                write_text(self.out / "planning.txt", "\n".join(self._told) + "\n")  # also for the page of a later call
            if only_plan:
                self.tell(f"\nNext:\nmaetool train {shlex.quote(str(self.plan_path))}")
                return
            request, planned = self.request, len(self._told)
            checkpoint = self._train()
            planning = [*self._planning(), *self._told[planned:]]
            worth = worth_of(checkpoint, data, request.task)
            commands = next_commands(checkpoint, request.folder, request.labels, request.task, data)
            self.tell(f"\n{worth}\n\nNext:\n{commands}")
            page = self._page(worth, commands, planning)
            write_text(self.out / "report.html", page)
            self.tell(f"\nWrote {self.out / 'report.html'}.")

    def _planning(self) -> list[str]:
        """Return what was said while the plan was made, perhaps by an earlier call."""
        path = self.out / "planning.txt"
        return path.read_text("utf-8", "surrogateescape").splitlines() if path.is_file() else []

    def _page(self, worth: str, commands: str, planning: list[str]) -> str:
        sections = {
            "What it was worth": html.prose(worth),
            "Next": html.code(commands, wrap=True),
            "How the plan came about": html.prose("\n".join(planning)),
        }
        before = [html.section(title, content) for title, content in sections.items()]
        return run_page([self.run_dir], 0, before, title=f"{Path(self.request.folder).resolve().name}, by maetool auto")

    def _look(self) -> Data:
        request = self.request
        return look(request.folder, request.labels, request.task, request.workers, request.max_pixels)

    def tell(self, line: str) -> None:
        """Say a line, and keep it for the report."""
        self._told.append(line)
        self._tell(line)

    def _asked(self) -> dict[str, Any]:
        request = self.request
        labels = request.labels and str(Path(request.labels).absolute())
        asked = {"folder": str(Path(request.folder).absolute()), "labels": labels, "task": request.task}
        return asked | ({"max_pixels": request.max_pixels} if request.max_pixels else {})

    def _check_folder(self, resume: bool) -> None:
        """Keep two requests from sharing a folder.

        Raises:
            UsageError: the folder holds something else.
        """
        path = self.out / "request.json"
        if path.is_file():
            if json.loads(path.read_text()) != self._asked():
                raise UsageError(
                    f"{self.out} holds a plan for other images, labels or another task: choose another --out."
                )
            if not resume:
                raise UsageError(f"{self.out} holds an earlier plan: go on with --resume, or choose another --out.")

    def _say_facts(self, data: Data) -> None:
        facts = data.facts
        self.tell(
            f"{plural(facts.images, 'image')} to train on, shorter side {facts.side} pixels in the median, "
            f"{plural(facts.in_chans, 'channel')}; {100 * facts.flat:.0f} % of their patches without variation, "
            f"{100 * facts.redundancy:.0f} % of a patch explained by its neighbours."
        )
        for finding in data.findings:
            self.tell(f"{finding.severity}: {finding.sentence}")
        if data.findings:
            self.tell(f"The plan itself sets {', '.join(['mean and std of these images', *data.answers])}.")
        if data.labelled:
            held = "Images held back for the end decide nothing."
            if self.request.labels:
                held += " Those that lie among the images to train on are seen there without their labels."
            enough = "" if data.judging else " That is too few to choose by, so candidates are judged without labels."
            self.tell(f"{plural(facts.labelled, 'labelled image')} to fit on. {held}{enough}")

    def _write_plan(self, data: Data, only_plan: bool) -> None:
        """Try candidates if there is time, time a step, and write the plan."""
        request, facts = self.request, data.facts
        machine = Machine(torch.cuda.is_available() or torch.backends.mps.is_available(), request.minutes)
        title = f"Plan for {plural(facts.images, 'image')} of {Path(request.folder).name}, to {request.task}."
        plan = first_plan(facts, machine, request.task, _absolute(data.place), title)
        seconds = self._time(plan, facts)
        tried = candidates(plan, facts)
        trying = 0 if only_plan else self._steps_to_try(seconds)
        if rounds_of(len(tried), trying):
            plan = self._try(tried, trying, data)
            seconds = self._time(plan, facts)
        else:
            why = "a plan alone tries none" if only_plan else "there is no time to try them"
            self.tell(f"Candidates were not compared: {why}; the plan follows the rules.")
        left = 60 * request.minutes * (1 - _JUDGING) - (0 if only_plan else self._spent())
        batch = plan.value("train_dataloader.batch_size")
        steps = max(_TIMED, min(int(left / seconds), longest(facts, batch)))
        plan.changed(*schedule(steps, facts, seconds, batch)).write(self.plan_path)
        self.tell(f"Wrote {self.plan_path}: {steps:,} steps of {seconds * 1000:.0f} ms.")

    def _time(self, plan: Plan, facts: Facts) -> float:
        return train_short(plan, facts, _TIMED, self.out / "timing")[2]

    def _steps_to_try(self, seconds: float) -> int:
        """Return the steps of all trials; those that an interrupted call began with, so that its trials still count.

        Args:
            seconds: that a step takes.
        """
        path = self.out / "candidates" / "steps.json"
        earlier = json.loads(path.read_text()) if path.is_file() else {}
        if earlier.get("minutes") != self.request.minutes:
            earlier = {"minutes": self.request.minutes, "steps": int(60 * self.request.minutes * _TRYING / seconds)}
            write_text(path, json.dumps(earlier) + "\n")
        return int(earlier["steps"])

    def _try(self, tried: dict[str, Plan], steps: int, data: Data) -> Plan:
        judge = Judge(data.place, data.judging)

        def train(plan: Plan, steps: int, folder: Path) -> Verdict:
            model, loss, _ = train_short(plan, data.facts, steps, folder)
            with quiet():
                return judge(model, loss)

        section = load_for(next(iter(tried.values())).write(self.out / "candidates" / "untrained.py"))[0].model
        with quiet():
            untrained = judge(build_frozen(section), 0.0)
        how = "a half of the labelled training images" if data.judging else "crops found again, without labels"
        self.tell(f"Trying {len(tried)} candidates, judged by {how}; {untrained.score:.2f} with the untrained encoder:")
        best, _ = halve(tried, steps, train, self.out / "candidates", self.tell)
        self.tell(f"Best: {best}.")
        return tried[best]

    def _spent(self) -> float:
        return time.monotonic() - self._began

    def _train(self) -> Path:
        """Train the plan, or the rest of it, and return its last checkpoint.

        Raises:
            StoppedError: a scheduler asked to stop; the same command with --resume goes on.
            UsageError: it was stopped before the first checkpoint.
        """
        flags: dict[str, Any] = {"work_dir": str(self.run_dir), "resume": bool(checkpoints_in(self.run_dir)) or None}
        cfg, _ = load_for(self.plan_path, flags=flags)
        left = max(60.0, 60 * self.request.minutes * (1 - _JUDGING) - self._spent()) * _LATE
        cfg.train_cfg.max_hours = (time.monotonic() - STARTED + left) / 3600
        # The page is written here, with the plan.
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook["type"] != "ReportHook"]
        runner = build_runner(cfg)
        origins = {name: origin for name, _, origin in trace(self.plan_path)}
        command = Command([str(self.plan_path), "--work-dir", str(self.run_dir)], origins)
        record_command(Path(runner.log_dir) / "vis_data", command)
        with stops_on_ctrl_c() as pressed:
            runner.train()
        if runner.stopped and "budget" not in runner.stopped and not pressed:
            raise StoppedError(runner.stopped, runner.saved_on_stop)
        found = checkpoints_in(self.run_dir)
        if not found:
            raise UsageError(f"The training was stopped before anything was saved in {self.run_dir}: start it again.")
        if runner.stopped:
            self.tell(f"\nThe training ended early, after {plural(runner.iter, 'step')}; judged is what there is.")
        return found[0]


@contextmanager
def stops_on_ctrl_c() -> Iterator[list[bool]]:
    """Let Ctrl-C end a training after its step, with a checkpoint; yield a list that is not empty if it was pressed."""
    pressed: list[bool] = []
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: Any) -> None:
        if pressed or signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:  # again, or nobody listens yet
            raise KeyboardInterrupt
        pressed.append(True)
        signal.raise_signal(signal.SIGTERM)

    signal.signal(signal.SIGINT, stop)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _absolute(place: dict[str, Any]) -> dict[str, Any]:
    """Return a place whose paths do not depend on the current folder."""
    paths = {"root", "csv_file"} & place.keys()
    return {**place, **{name: str(Path(place[name]).absolute()) for name in paths if "://" not in str(place[name])}}
