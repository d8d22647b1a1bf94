"""What a GPU makes of maetool: checks, and a table of speed; one markdown file.

Everything runs on a CPU too, with `--small`, so that the script itself is tested where there is no GPU.
"""

import gc
import platform
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from maetool.config.paths import find_config
from maetool.engine.optim.param_groups import decay_groups
from maetool.ops.peaks import present_peak
from maetool.parallel.compiling import compile_model
from maetool.structures.logged import logged_values

from . import peers
from .gpu_checks import CHECKS, result_of
from .step import _our_model, _useful_flops, device

_RECIPES = {"vit-b": "maetool::mae/vit-b_800e.py", "vit-l": "maetool::mae/vit-l_800e.py"}
_SMALL = {"vit-t": "maetool::mae/vit-t_shapes.py"}
_BATCHES = (128, 256, 512, 1024, 2048)
_WARM, _TIMED = 3, 10
# How a step runs, to the options of `compile` in a config; the most interesting first.
_HOWS: dict[str, dict[str, Any]] = {
    "compiled": {},
    "eager": {},
    "compiled whole": {"scope": "parts"},
    "graphs": {"mode": "reduce-overhead"},
    "whole graphs": {"scope": "parts", "mode": "reduce-overhead"},
}


def run(small: bool = False, minutes: float = 9.0) -> tuple[str, dict[str, Any]]:
    """Check and measure, and return a markdown report.

    Args:
        small: of a small model, a few images and steps, for a test without a GPU.
        minutes: no new measurement begins after this time; what is left out is named.
    """
    end = time.monotonic() + 60 * minutes
    checks = {check.__name__.replace("_", " "): result_of(check) for check in CHECKS}
    rows: list[dict[str, Any]] = []
    for case in _cases(small):
        left_out = {**case, "note": "not measured: out of time"}
        rows.append(left_out if time.monotonic() > end else {**case, **_measured(case, small)})
    return _report(checks, rows), {"checks": checks, "rows": rows}


def _cases(small: bool) -> list[dict[str, Any]]:
    """Return what is measured, the most interesting first, because time may end."""
    sizes, batches = (_SMALL, (4,)) if small else (_RECIPES, _BATCHES)
    own = [
        {"size": size, "method": "maetool", "how": how, "batch": batch}
        for batch in sorted(batches, key=lambda batch: abs(batch - 512))
        for how in (("eager",) if small else _HOWS)
        for size in sizes
    ]
    others = [
        {"size": size, "method": name, "how": how, "batch": 512}
        for name in ([] if small else peers.present())
        for how in ("eager", "compiled")
        for size in sizes
    ]
    first = len(sizes) * (1 if small else len(_HOWS))
    return [*own[:first], *others, *own[first:]]


def _measured(case: dict[str, Any], small: bool) -> dict[str, Any]:
    """Return images a second, share of the peak and memory of a case; or a note why there are none."""
    try:
        return _speed(case, small)
    except torch.cuda.OutOfMemoryError:
        return {"note": "out of memory"}
    except Exception as error:  # of a compiler, or of a peer
        return {"note": f"{type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}"}
    finally:
        gc.collect()
        if case["how"] != "eager":
            torch.compiler.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _speed(case: dict[str, Any], small: bool) -> dict[str, Any]:
    path = find_config((_SMALL if small else _RECIPES)[case["size"]])
    model, loss_of = _built(case, path)
    optimizer = torch.optim.AdamW(decay_groups(model), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True)
    size = model.encoder.img_size if case["method"] == "maetool" else (224, 224)
    images = torch.randn(case["batch"], 3, *size, device=device())
    step = partial(_step, loss_of, images, optimizer)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    warm, timed = (1, 2) if small else (_WARM, _TIMED)
    for _ in range(warm):
        step()
    _wait()
    start = time.perf_counter()
    for _ in range(timed):
        step()
    _wait()
    rate = timed * case["batch"] / (time.perf_counter() - start)
    peak, gigabytes = present_peak(), torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None
    return {"rate": rate, "share": rate * _useful_flops(path) / peak if peak else None, "memory": gigabytes}


def _built(case: dict[str, Any], path: Any) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    if case["method"] != "maetool":
        model, loss_of = peers.build(case["method"], case["size"])
        return model.to(device()).train(), torch.compile(loss_of, dynamic=False) if case["how"] != "eager" else loss_of
    model = _our_model(path).to(device()).train()
    if case["how"] != "eager":
        compile_model(model, _HOWS[case["how"]], device())

    def loss_of(images: Tensor) -> Tensor:
        if torch.cuda.is_available():
            torch.compiler.cudagraph_mark_step_begin()
        with logged_values(False):  # as in the steps of a run that are not reported
            return model(images)["loss"]

    return model, loss_of


def _step(loss_of: Callable[[Tensor], Tensor], images: Tensor, optimizer: torch.optim.Optimizer) -> None:
    with torch.autocast(images.device.type, torch.bfloat16):
        loss = loss_of(images)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _report(checks: dict[str, str], rows: list[dict[str, Any]]) -> str:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({platform.machine()})"
    lines = [f"# maetool on {name}", "", f"PyTorch {torch.__version__}, bfloat16 by autocast, one device.", ""]
    lines += ["| check | result |", "|---|---|", *(f"| {title} | {result} |" for title, result in checks.items()), ""]
    lines += ["| model | method | how | batch | images/s | of peak | GB |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        place = f"| {row['size']} | {row['method']} | {row['how']} | {row['batch']} |"
        if "rate" not in row:
            lines.append(f"{place} {row['note']} | | |")
            continue
        share = "" if row["share"] is None else f"{row['share']:.1%}"
        memory = "" if row["memory"] is None else f"{row['memory']:.1f}"
        lines.append(f"{place} {row['rate']:,.0f} | {share} | {memory} |")
    return "\n".join(lines) + "\n"
