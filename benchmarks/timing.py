"""Comparable timings: warm, in interleaved rounds, reported as medians and spread."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping

import torch


def measure(cases: Mapping[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Return name to the seconds of each round; in every round each case runs once, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds + 1):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def use_up(batches: Iterable[object]) -> None:
    """Take every batch, and drop it before the next."""
    for _ in batches:
        pass


def table(seconds: Mapping[str, list[float]], reference: str) -> str:
    """Return a table in milliseconds: median, lowest and highest, and the median ratio to `reference` of a round."""
    lines = [f"{'case':<24} {'median ms':>10} {'lowest':>8} {'highest':>8} {'ratio':>7}"]
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, seconds[reference], strict=True))
        low, middle, high = (1000 * v for v in (min(values), statistics.median(values), max(values)))
        lines.append(f"{name:<24} {middle:>10.2f} {low:>8.2f} {high:>8.2f} {ratio:>7.2f}")
    return "\n".join(lines)
