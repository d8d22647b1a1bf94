"""Where the time of a pretraining step goes: its operations by their kinds."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from torch.profiler import profile

from maetool.compat import keep_freed_memory
from maetool.config.paths import find_config

from .step import Case, alone, device, stepper

# An operation is of the first kind of which a part stands in its name, which differs between devices.
_KINDS = {
    "products of attention": ("bmm", "attention_flash", "attention_efficient", "fmha", "flash"),
    "products of linear maps": ("aten::mm", "addmm", "linear_pointwise", "gemm", "cutlass"),
    "softmax": ("softmax",),
    "GELU": ("gelu",),
    "normalisation": ("layer_norm", "var_mean"),
    "optimiser": ("adam",),
    "casts, copies, gathering": ("copy", "cat", "index", "gather", "scatter", "Memcpy", "empty"),
}
_REST, _STEPS = "the rest", 3


def run(
    configs: Sequence[str | Path], dtypes: Sequence[str], batch_size: int, rounds: int
) -> tuple[str, dict[str, Any]]:
    """Profile steps of recipes, each round of each case in a fresh process.

    Args:
        configs: paths or names of recipes.
        dtypes: "float32" and "bfloat16", the latter by autocast.
        batch_size: images of a step.
        rounds: interleaved rounds; the table shows medians.
    """
    cases = [Case("ours", path, dtype, batch_size) for dtype in dtypes for path in map(find_config, configs)]
    results_of: dict[Case, list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            results_of[case].append(alone(_profile, case))
    report = [f"{batch_size} images a step on {device()}, {rounds} rounds of {_STEPS} steps; milliseconds"]
    report += [_describe(case, results) for case, results in results_of.items()]
    return "\n\n".join(report), {str(case): results for case, results in results_of.items()}


def _profile(case: Case) -> dict[str, float]:
    """Return the seconds of a step that each kind of operation takes by itself."""
    keep_freed_memory()
    step = stepper(case)
    for _ in range(2):
        step()
    with profile() as profiler:
        for _ in range(_STEPS):
            step()
    clock = "self_cpu_time_total" if device() == "cpu" else "self_device_time_total"
    seconds: Counter[str] = Counter()
    for event in profiler.key_averages():
        seconds[kind_of(event.key)] += getattr(event, clock) / 1e6 / _STEPS
    return dict(seconds)


def kind_of(operation: str) -> str:
    """Return the kind of an operation that the profiler names so."""
    return next((kind for kind, parts in _KINDS.items() if any(part in operation for part in parts)), _REST)


def _describe(case: Case, results: list[dict[str, float]]) -> str:
    middle = {kind: median(result.get(kind, 0.0) for result in results) for kind in (*_KINDS, _REST)}
    total = sum(middle.values())
    lines = [f"{case!s:<34} {'ms':>8} {'share':>6}"]
    lines += [f"{kind:<34} {1e3 * value:>8.1f} {value / total:>6.1%}" for kind, value in middle.items()]
    return "\n".join([*lines, f"{'all':<34} {1e3 * total:>8.1f}"])
