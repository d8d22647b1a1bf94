"""What a GPU makes of maetool: four checks, and a table of speed; one markdown file.

Everything runs on a CPU too, with `--small`, so that the script itself is tested where there is no GPU.
"""

import gc
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from maetool.config.paths import find_config
from maetool.engine.optim.param_groups import decay_groups
from maetool.engine.optim.steps import settle
from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.layers import Block
from maetool.ops.peaks import present_peak
from maetool.testing import tiny_batch, tiny_model

from . import peers
from .step import _our_model, _useful_flops, device

_RECIPES = {"vit-b": "maetool::mae/vit-b_800e.py", "vit-l": "maetool::mae/vit-l_800e.py"}
_SMALL = {"vit-t": "maetool::mae/vit-t_shapes.py"}
_BATCHES = (128, 256, 512, 1024, 2048)
_WARM, _TIMED = 3, 10


def run(small: bool = False, minutes: float = 9.0) -> tuple[str, dict[str, Any]]:
    """Check and measure, and return a markdown report.

    Args:
        small: of a small model, a few images and steps, for a test without a GPU.
        minutes: no new measurement begins after this time; what is left out is named.
    """
    end = time.monotonic() + 60 * minutes
    checks = {check.__name__.replace("_", " "): _result(check) for check in CHECKS}
    rows: list[dict[str, Any]] = []
    for case in _cases(small):
        left_out = {**case, "note": "not measured: out of time"}
        rows.append(left_out if time.monotonic() > end else {**case, **_measured(case, small)})
    return _report(checks, rows), {"checks": checks, "rows": rows}


def ten_steps_without_a_wait() -> str:
    """Make ten complete steps; CUDA raises where one waits for the device."""
    if device() == "cpu":
        return "skipped: a CPU is never waited for"
    model, wrapper, batches = _tiny(deferred=True)
    _train(model, wrapper, batches[:2])  # builds kernels, and the optimiser's state
    torch.cuda.set_sync_debug_mode("error")
    try:
        _train(model, wrapper, batches[:10])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "passed"


def losses_are_those_of_a_CPU() -> str:
    """Compare the losses of six steps in float32 with those of a CPU."""
    losses = {}
    for place in ("cpu", device()):
        model, wrapper, batches = _tiny(place=place)
        losses[place] = _train(model, wrapper, batches[:6])
    largest = max(abs(a - b) / abs(a) for a, b in zip(losses["cpu"], losses[device()], strict=True))
    return f"{'passed' if largest < 1e-3 else 'FAILED'}: relative difference at most {largest:.1e}"


def a_resume_is_exact() -> str:
    """Train six steps, and three and three with new objects in between; weights must be equal to the bit."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        model, wrapper, batches = _tiny()
        _train(model, wrapper, batches[:6])
        first, first_wrapper, _ = _tiny()
        _train(first, first_wrapper, batches[:3])
        second, second_wrapper, _ = _tiny()
        second.load_state_dict(first.state_dict())
        second_wrapper.load_state_dict(first_wrapper.state_dict())
        _train(second, second_wrapper, batches[3:6])
    finally:
        torch.use_deterministic_algorithms(False)
    pairs = zip(model.state_dict().values(), second.state_dict().values(), strict=True)
    return "passed" if all(torch.equal(*pair) for pair in pairs) else "FAILED: weights differ"


def a_broken_step_changes_nothing() -> str:
    """Put an infinite pixel into one batch: its step is left out on the device, and reported."""
    model, wrapper, batches = _tiny()
    _train(model, wrapper, batches[:2])
    before = [parameter.detach().clone() for parameter in model.parameters()]
    broken = {**batches[2], "inputs": batches[2]["inputs"].float().fill_(torch.inf)}
    _train(model, wrapper, [broken])
    same = all(torch.equal(*pair) for pair in zip(model.parameters(), before, strict=True))
    return "passed" if same and wrapper.skipped == 1 and wrapper.fault else "FAILED"


CHECKS = (ten_steps_without_a_wait, losses_are_those_of_a_CPU, a_resume_is_exact, a_broken_step_changes_nothing)


def _result(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # a report says so, and goes on
        return f"FAILED: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _tiny(deferred: bool | None = None, place: str | None = None) -> tuple[Any, AutocastOptimWrapper, list[Any]]:
    place = place or device()
    model = tiny_model().to(place).train()
    optimizer = torch.optim.AdamW(decay_groups(model), lr=1e-3, weight_decay=0.05)
    wrapper = AutocastOptimWrapper(optimizer, "float32", clip_grad={"max_norm": 1.0}, deferred=deferred)
    batch = tiny_batch()
    pinned = torch.cuda.is_available()
    batches = [
        {name: (x.pin_memory() if pinned else x) for name, x in {**batch, "key": batch["key"] + i}.items()}
        for i in range(12)
    ]
    return model, wrapper, batches


def _train(model: Any, wrapper: AutocastOptimWrapper, batches: Sequence[Any]) -> list[float]:
    losses = [model.train_step(dict(batch), wrapper)["loss"].detach() for batch in batches]
    if torch.cuda.is_available() and torch.cuda.get_sync_debug_mode():
        return []
    settle(wrapper)
    return torch.stack(losses).tolist()


def _cases(small: bool) -> list[dict[str, Any]]:
    """Return what is measured, the most interesting first, because time may end."""
    sizes, batches = (_SMALL, (4,)) if small else (_RECIPES, _BATCHES)
    own = [
        {"size": size, "method": "maetool", "how": how, "batch": batch}
        for batch in sorted(batches, key=lambda batch: abs(batch - 512))
        for how in (("eager",) if small else ("compiled", "eager", "graphs"))
        for size in sizes
    ]
    others = [
        {"size": size, "method": name, "how": how, "batch": 512}
        for name in ([] if small else peers.present())
        for how in ("eager", "compiled")
        for size in sizes
    ]
    return [*own[: len(sizes) * 3], *others, *own[len(sizes) * 3 :]]


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
    mode = "reduce-overhead" if case["how"] == "graphs" else None
    if case["method"] != "maetool":
        model, loss_of = peers.build(case["method"], case["size"])
        return model.to(device()).train(), torch.compile(loss_of, dynamic=False) if case["how"] != "eager" else loss_of
    model = _our_model(path).to(device()).train()
    if case["how"] != "eager":
        for block in [module for module in model.modules() if isinstance(module, Block)]:
            block.compile(dynamic=False, mode=mode)
    if mode is None:
        return model, lambda images: model(images)["loss"]

    def loss_of(images: Tensor) -> Tensor:
        torch.compiler.cudagraph_mark_step_begin()
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
