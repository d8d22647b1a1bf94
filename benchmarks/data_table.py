"""Tables of what `data_rules.py` has measured."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

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


def gains(path: Path) -> str:
    """Return a table of what each run gains over the untrained encoder, and the deviation of that gain."""
    scores = read(path)
    runs = [name for name in _names(scores) if name not in (*_BASELINES, "scratch")]
    lines = [f"| set, labels | {' | '.join(runs)} | better of pixels and HOG |", "|---|" + "---|" * (len(runs) + 1)]
    for name, of_set in scores.items():
        for labels, untrained in of_set.get("untrained", {}).items():
            cells = [_gain(of_set.get(run, {}).get(labels, {}), untrained) for run in runs]
            others = [each for each in ("pixels", "hog") if labels in of_set.get(each, {})]
            better = max(others, key=lambda each: np.mean(_all(of_set, each, labels)), default="")
            same = dict.fromkeys(untrained, of_set[better][labels][0]) if better else {}  # pixels have no seed
            cells.append(_gain(same, untrained))
            lines.append(f"| {name}, {labels} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gain(draws: Draws, untrained: Draws) -> str:
    """Return the mean difference on the same drawn labels and its deviation, bold if it is clearly above 0.

    A seed meets the untrained encoder of the same seed. "Clearly" is two standard errors, as if the seeds, which meet
    the same labels, told no more than one.
    """
    differences = [np.subtract(draws[seed], before) for seed, before in untrained.items() if seed in draws]
    if not differences:
        return ""
    number, values = len(differences[0]), np.concatenate(differences)
    if values.size < 2:
        return f"{values.mean():+.1f}"
    text = f"{values.mean():+.1f} ({values.std(ddof=1):.1f})"
    return f"**{text}**" if values.mean() > 2 * values.std(ddof=1) / number**0.5 else text
