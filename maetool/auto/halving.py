"""Successive halving: all candidates a little, the better half twice as long, until one is left."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from maetool.writing import write_text

from .judge import Verdict
from .plan import Plan

_LEAST = 40  # steps from which a candidate shows anything


class Train(Protocol):
    """Trains a plan for some steps in a folder, and returns its verdict."""

    def __call__(self, plan: Plan, steps: int, folder: Path) -> Verdict:
        """Train `plan` for `steps` with files in `folder`."""
        ...


@dataclass(frozen=True)
class Trial:
    """A candidate that was tried.

    Attributes:
        name: of the candidate.
        steps: that it was trained for.
        verdict: what it came to.
    """

    name: str
    steps: int
    verdict: Verdict

    @property
    def failed(self) -> str:
        """Why the candidate is dropped whatever its score, or ""."""
        return self.verdict.failed(self.steps)


def rounds_of(candidates: int, steps: int) -> list[tuple[int, int]]:
    """Return for each round how many candidates it tries and for how many steps.

    Every round takes about the same time, and its steps are at least 40: with too few steps there is no round at all.

    Args:
        candidates: number of candidates.
        steps: of all rounds together.
    """
    numbers = []
    while candidates > 1:
        numbers.append(candidates)
        candidates = -(-candidates // 2)
    planned = [(number, steps // len(numbers) // number) for number in numbers]
    return planned if planned and planned[0][1] >= _LEAST else []


def halve(
    candidates: Mapping[str, Plan], steps: int, train: Train, folder: Path, tell: Callable[[str], None]
) -> tuple[str, list[Trial]]:
    """Return the name of the best candidate, and all trials; those of an earlier, interrupted call are not repeated.

    A candidate that learned nothing or collapsed is dropped, unless all did. Equal ones keep their order.

    Args:
        candidates: plans by name, the likeliest first.
        steps: of all trials together.
        train: trains and judges.
        folder: for the trials and their files.
        tell: called with a line for each trial.
    """
    done, trials, left = _read(folder / "trials.jsonl"), list[Trial](), list(candidates)
    for number, each in rounds_of(len(candidates), steps):
        tried = []
        for name in left[:number]:
            trial = done.get((name, each)) or Trial(name, each, train(candidates[name], each, folder / _file(name)))
            if (name, each) not in done:
                done[name, each] = trial
                _write(folder / "trials.jsonl", done.values())
            tried.append(trial)
            tell(_line(trial))
        trials += tried
        ranked = sorted(tried, key=lambda trial: (bool(trial.failed), -trial.verdict.score))
        left = [trial.name for trial in ranked[: -(-number // 2)]]
    return left[0], trials


def _file(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _line(trial: Trial) -> str:
    verdict = trial.verdict
    why = f"; dropped, {trial.failed}" if trial.failed else ""
    return (
        f"  {trial.name:<28}{trial.steps:>6} steps: {verdict.score:6.2f}, loss {verdict.loss:.3f} of a constant's, "
        f"rank {verdict.rank:.1f}, crops found again {verdict.stability:.0f} %{why}"
    )


def _read(path: Path) -> dict[tuple[str, int], Trial]:
    lines = path.read_text().splitlines() if path.is_file() else []
    trials = [_trial(line) for line in lines]
    return {(trial.name, trial.steps): trial for trial in trials if trial}


def _trial(line: str) -> Trial | None:
    """Return the trial of a line; None of one that a kill cut."""
    try:
        values: dict[str, Any] = json.loads(line)
        return Trial(values["name"], values["steps"], Verdict(**values["verdict"]))
    except (ValueError, KeyError, TypeError):
        return None


def _write(path: Path, trials: Iterable[Trial]) -> None:
    write_text(path, "".join(json.dumps(asdict(trial)) + "\n" for trial in trials))
