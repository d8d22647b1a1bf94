"""Tables of what `data_rules.py` has measured."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

_BASELINES = ("pixels", "pca", "hog", "untrained")
Draws = dict[int, list[float]]  # of each seed
Scores = dict[str, dict[str, dict[str, Draws]]]  # set, then features or run, then labels


def read(path: Path) -> Scores:
    """Return the accuracies of the draws of each seed."""
    scores: Scores = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for line in map(json.loads, path.read_text().splitlines()):
        for features, of_labels in line["scores"].items():
            name = line["run"] if features == "pretrained" else features
            for labels, draws in of_labels.items():
                scores[line["set"]][name][labels][line["seed"]] = draws
    return scores


def _names(scores: Scores) -> list[str]:
    return list(dict.fromkeys(name for of_set in scores.values() for name in of_set))


def to_markdown(path: Path) -> str:
    """Return for each number of labels a table of sets by features, the mean of draws and seeds with the deviation."""
    scores = read(path)
    names = [*_BASELINES, *(name for name in _names(scores) if name not in _BASELINES)]
    parts = []
    for labels in ("10", "40", "100", "200", "all"):
        rows = [_row(name, scores[name], names, labels) for name in scores]
        head = [f"| {labels} labels | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
        parts.append("\n".join([*head, *rows]))
    return "\n\n".join(parts)


def _all(scores: Mapping[str, Mapping[str, Draws]], name: str, labels: str) -> list[float]:
    """Return the accuracies of all seeds, or none."""
    return [value for draws in scores.get(name, {}).get(labels, {}).values() for value in draws]


def _row(name: str, scores: Mapping[str, Mapping[str, Draws]], names: Sequence[str], labels: str) -> str:
    draws = [_all(scores, each, labels) for each in names]
    best = max((np.mean(each) for each in draws if each), default=0.0)
    return f"| {name} | {' | '.join(_cell(each, best) for each in draws)} |"


def _cell(draws: Sequence[float], best: float) -> str:
    if not draws:
        return ""
    mean = float(np.mean(draws))
    text = f"{mean:.1f}" + (f" ({np.std(draws, ddof=1):.1f})" if len(draws) > 1 else "")
    return f"**{text}**" if mean == best else text


def gains(path: Path, against: str = "untrained") -> str:
    """Return a table of what each run gains over the run `against`, and the deviation of that gain."""
    scores = read(path)
    runs = _compared(scores, against)
    lines = [f"| set, labels | {' | '.join(runs)} | better of pixels and HOG |", "|---|" + "---|" * (len(runs) + 1)]
    for name, of_set in scores.items():
        for labels, before in of_set.get(against, {}).items():
            cells = [_gain(of_set.get(run, {}).get(labels, {}), before) for run in runs]
            others = [each for each in ("pixels", "hog") if labels in of_set.get(each, {})]
            better = max(others, key=lambda each: np.mean(_all(of_set, each, labels)), default="")
            same = dict.fromkeys(before, of_set[better][labels][0]) if better else {}  # pixels have no seed
            cells.append(_gain(same, before))
            lines.append(f"| {name}, {labels} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _compared(scores: Scores, against: str) -> list[str]:
    """Return the runs that are compared with the run `against`."""
    return [name for name in _names(scores) if name not in (*_BASELINES, "scratch", against)]


class Gain(NamedTuple):
    """A mean difference, its deviation and standard error, as if the seeds, which meet the same labels, were one."""

    mean: float
    deviation: float
    error: float


def gain_of(draws: Draws, before: Draws) -> Gain | None:
    """Return the gain over another encoder of the same seed on the same labels; None if none was measured."""
    differences = [np.subtract(draws[seed], other) for seed, other in before.items() if seed in draws]
    if not differences:
        return None
    values = np.concatenate(differences)
    deviation = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return Gain(float(values.mean()), deviation, deviation / len(differences[0]) ** 0.5)


def _gain(draws: Draws, before: Draws) -> str:
    """Return a gain as text, bold if it is above two standard errors."""
    gain = gain_of(draws, before)
    if gain is None:
        return ""
    text = f"{gain.mean:+.1f}" + (f" ({gain.deviation:.1f})" if gain.deviation else "")
    return f"**{text}**" if gain.error and gain.mean > 2 * gain.error else text


def summary(path: Path, against: str = "untrained") -> str:
    """Return for each number of labels the median gain of each run over the sets, and of how many it is clear.

    Args:
        path: the results.
        against: the run that is compared with.
    """
    scores = read(path)
    runs = _compared(scores, against)
    lines = [f"| labels | {' | '.join(runs)} |", "|---|" + "---|" * len(runs)]
    for labels in ("10", "40", "100", "200", "all"):
        cells = []
        for run in runs:
            found = [
                gain_of(each.get(run, {}).get(labels, {}), each.get(against, {}).get(labels, {}))
                for each in scores.values()
            ]
            cells.append(_counted([gain for gain in found if gain is not None]))
        lines.append(f"| {labels} | {' | '.join(cells)} |")
    return "\n".join(lines)


def from_scratch(path: Path) -> str:
    """Return for each number of labels the median of what training from scratch gains over a probe of each encoder.

    Args:
        path: the results. Every seed of `scratch` has labels and weights of its own, so that the errors of both add up.
    """
    scores = read(path)
    rivals = ["pixels", "hog", "untrained", *_compared(scores, "untrained")]
    lines = [f"| labels, from scratch over | {' | '.join(rivals)} |", "|---|" + "---|" * len(rivals)]
    for labels in ("10", "40", "100", "200", "all"):
        found = [[_apart(each, rival, labels) for each in scores.values()] for rival in rivals]
        cells = [_counted([gain for gain in gains if gain is not None]) for gains in found]
        lines.append(f"| {labels} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _apart(of_set: Mapping[str, Mapping[str, Draws]], rival: str, labels: str) -> Gain | None:
    own, other = _all(of_set, "scratch", labels), _all(of_set, rival, labels)
    if len(own) < 2 or not other:
        return None
    draws = len(next(iter(of_set[rival][labels].values())))
    errors = [np.var(own, ddof=1) / len(own)]
    if len(other) > 1:  # seeds that meet the same labels count as one
        errors.append(np.var(other, ddof=1) / (draws if draws > 1 else len(other)))
    return Gain(float(np.mean(own) - np.mean(other)), float(np.std(own, ddof=1)), float(np.sqrt(sum(errors))))


def _counted(gains: Sequence[Gain]) -> str:
    if not gains:
        return ""
    better, worse = (sum(sign * gain.mean > 2 * gain.error for gain in gains if gain.error) for sign in (1, -1))
    return f"{np.median([gain.mean for gain in gains]):+.1f}; {better} better, {worse} worse of {len(gains)}"
