"""Tables of what `data_rules.py` has measured."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

_BASELINES = ("pixels", "pca", "hog", "untrained")
Scores = dict[str, dict[str, dict[str, list[float]]]]  # set, then features or run, then labels, to the draws


def read(path: Path) -> tuple[Scores, dict[tuple[str, str], int]]:
    """Return the accuracies of all draws and seeds, and how many seeds there are of each set and run."""
    scores: Scores = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    seeds: dict[tuple[str, str], int] = defaultdict(int)
    for line in map(json.loads, path.read_text().splitlines()):
        for features, of_labels in line["scores"].items():
            name = line["run"] if features == "pretrained" else features
            seeds[line["set"], name] += 1
            for labels, draws in of_labels.items():
                scores[line["set"]][name][labels] += draws
    return scores, seeds


def to_markdown(path: Path) -> str:
    """Return for each number of labels a table of sets by features, the mean of the draws with their deviation."""
    scores, seeds = read(path)
    names = [*_BASELINES, *dict.fromkeys(name for _, name in seeds if name not in _BASELINES)]
    parts = []
    for labels in ("10", "40", "100", "200", "all"):
        rows = [_row(name, scores[name], names, labels) for name in scores]
        head = [f"| {labels} labels | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
        parts.append("\n".join([*head, *rows]))
    return "\n\n".join(parts)


def _row(name: str, scores: Mapping[str, Mapping[str, Sequence[float]]], names: Sequence[str], labels: str) -> str:
    best = max((np.mean(scores[each][labels]) for each in names if labels in scores.get(each, {})), default=0.0)
    return f"| {name} | {' | '.join(_cell(scores.get(each, {}).get(labels, ()), best) for each in names)} |"


def _cell(draws: Sequence[float], best: float) -> str:
    if not draws:
        return ""
    mean = float(np.mean(draws))
    text = f"{mean:.1f}" + (f" ({np.std(draws, ddof=1):.1f})" if len(draws) > 1 else "")
    return f"**{text}**" if mean == best else text


def gains(path: Path) -> str:
    """Return a table of what each run gains over the untrained encoder on the same draws, with the deviation."""
    scores, seeds = read(path)
    runs = list(dict.fromkeys(name for _, name in seeds if name not in (*_BASELINES, "scratch")))
    lines = [f"| set, labels | {' | '.join(runs)} | better of pixels and HOG |", "|---|" + "---|" * (len(runs) + 1)]
    for name, of_set in scores.items():
        for labels, untrained in of_set.get("untrained", {}).items():
            cells = [_gain(of_set.get(run, {}).get(labels, ()), untrained) for run in runs]
            others = [of_set[each][labels] for each in ("pixels", "hog") if labels in of_set.get(each, {})]
            cells.append(_gain(max(others, key=np.mean), untrained) if others else "")
            lines.append(f"| {name}, {labels} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _gain(draws: Sequence[float], untrained: Sequence[float]) -> str:
    """Return the mean difference and its deviation over the draws; a run of several seeds meets the draws of each."""
    if not draws:
        return ""
    differences = np.reshape(draws, (-1, len(untrained))) - np.asarray(untrained)
    mean = float(differences.mean())
    if differences.size < 2:
        return f"{mean:+.1f}"
    text = f"{mean:+.1f} ({differences.std(ddof=1):.1f})"
    return f"**{text}**" if mean > 2 * differences.std(ddof=1) / len(untrained) ** 0.5 else text
