"""The table of `tools/benchmark.py step`."""

import statistics
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .step import Case

PARTS = ("forward", "backward", "optimiser")


def table(
    results_of: Mapping["Case", list[dict[str, Any]]], ideal: Mapping["Case", float], memory: Mapping["Case", int]
) -> str:
    """Return a line for each case.

    "in use" is the most megabytes of tensors at once, "held" what the process took with its allocator's gaps. The ratio
    is to the first peer of the same size and precision, or without one to the first case; above 1 is faster.
    """
    width = max(34, *(len(str(case)) for case in results_of))
    lines = [
        f"{'case':<{width}} {'img/s':>7} {'ms':>8} {'lowest':>8} {'highest':>8} "
        + " ".join(f"{part:>9}" for part in PARTS)
        + f" {'of peak':>8} {'in use':>7} {'held':>7} {'ratio':>6}"
    ]
    for case, results in results_of.items():
        steps = [seconds for result in results for seconds in result["seconds"]]
        totals, parts = [sum(step) for step in steps], [statistics.median(part) for part in zip(*steps, strict=True)]
        middle = statistics.median(totals)
        held = statistics.median(result["memory"] for result in results)
        ratio = _ratio(results, results_of[reference_of(case, results_of)])
        lines.append(
            f"{case!s:<{width}} {case.batch_size / middle:>7.1f} {1e3 * middle:>8.1f} {1e3 * min(totals):>8.1f} "
            f"{1e3 * max(totals):>8.1f} "
            + " ".join(f"{1e3 * part:>9.1f}" for part in parts)
            + f" {ideal[case] / middle:>8.1%} {memory[case] / 1e6:>7.0f} {held / 1e6:>7.0f} {ratio:>6.2f}"
        )
    return "\n".join(lines)


def reference_of(case: "Case", cases: Mapping["Case", Any]) -> "Case":
    """Return the case whose steps the ratio of a case refers to.

    Args:
        case: a row of the table.
        cases: all rows.
    """
    same = [other for other in cases if other.dtype == case.dtype]
    rivals = (other for other in same if other.method != "ours" and other.size == case.size and not other.compiled)
    return next(rivals, same[0])


def _ratio(results: list[dict[str, Any]], reference: list[dict[str, Any]]) -> float:
    """Return how many times as fast as the reference, the median over the rounds."""
    middles = [[statistics.median(map(sum, r["seconds"])) for r in rows] for rows in (reference, results)]
    return statistics.median(other / own for other, own in zip(*middles, strict=True))
