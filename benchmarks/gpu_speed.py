"""Images a second, share of the peak and memory of one model on a GPU."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from maetool.config.paths import find_config
from maetool.engine.optim.param_groups import decay_groups
from maetool.ops.peaks import present_peak
from maetool.parallel.compiling import compile_model
from maetool.structures.logged import logged_values

from . import peers
from .step import _our_model, _useful_flops, device

RECIPES = {
    "vit-b": "maetool::mae/vit-b_800e.py",
    "vit-l": "maetool::mae/vit-l_800e.py",
    "vit-s": "maetool::mae/vit-s_800e.py",
    "vit-t": "maetool::mae/vit-t_shapes.py",
}
# How a step runs, to the options of `compile` in a config.
HOWS: dict[str, dict[str, Any]] = {
    "eager": {},
    "compiled": {},
    "compiled whole": {"scope": "parts"},
    "graphs": {"mode": "reduce-overhead"},
    "whole graphs": {"scope": "parts", "mode": "reduce-overhead"},
}
OURS, WIDE_HEADS, ENCODER = "maetool", "maetool, decoder of 8 heads", "maetool, encoder alone"
_OPTIONS = {WIDE_HEADS: ["model.decoder.num_heads=8"]}
_WARM, _TIMED = 3, 10


@dataclass(frozen=True)
class Case:
    """A row of the table: a method at a size, how it runs, and the images of a step."""

    size: str
    method: str
    how: str
    batch: int

    @property
    def kind(self) -> tuple[str, str, str]:
        """Everything but the batch size."""
        return self.size, self.method, self.how


def measured(case: Case, timed: int = _TIMED) -> dict[str, Any]:
    """Return `rate`, images a second, `share` of the peak and `memory` in GB; or a `note` on why there are none.

    Args:
        case: what to measure.
        timed: timed steps, after some to warm up.
    """
    try:
        return _speed(case, timed)
    except torch.cuda.OutOfMemoryError:
        return {"note": "out of memory"}
    finally:
        gc.collect()
        if case.how != "eager":
            torch.compiler.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _speed(case: Case, timed: int) -> dict[str, Any]:
    model, loss_of, size, flops = _built(case)
    optimizer = torch.optim.AdamW(decay_groups(model), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True)
    images = torch.randn(case.batch, 3, *size, device=device())
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    for _ in range(min(_WARM, timed)):
        _step(loss_of, images, optimizer)
    _wait()
    start = time.perf_counter()
    for _ in range(timed):
        _step(loss_of, images, optimizer)
    _wait()
    rate = timed * case.batch / (time.perf_counter() - start)
    peak, gigabytes = present_peak(), torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None
    return {"rate": rate, "share": rate * flops / peak if peak else None, "memory": gigabytes}


def _built(case: Case) -> tuple[nn.Module, Callable[[Tensor], Tensor], tuple[int, ...], int]:
    """Return the model, the loss of images, their size, and the operations of a step for one image."""
    path = find_config(RECIPES[case.size])
    if case.method in peers.names():
        model, loss_of = peers.build(case.method, case.size)
        model.to(device()).train()
        flops = _encoder_flops(path) if case.method in peers.ENCODERS else _useful_flops(path)
        return model, torch.compile(loss_of, dynamic=False) if case.how != "eager" else loss_of, (224, 224), flops
    model = _our_model(path, _OPTIONS.get(case.method, ()))
    flops = _encoder_flops(path) if case.method == ENCODER else _useful_flops(path)
    model.to(device()).train()
    if case.how != "eager":
        compile_model(model, HOWS[case.how], device())
    used = nn.ModuleDict({"encoder": model.encoder}) if case.method == ENCODER else model
    return used, partial(_encoder_loss if case.method == ENCODER else _loss, model), model.encoder.img_size, flops


def _loss(model: nn.Module, images: Tensor) -> Tensor:
    if torch.cuda.is_available():
        torch.compiler.cudagraph_mark_step_begin()
    with logged_values(False):  # as in the steps of a run that are not reported
        return model(images)["loss"]


def _encoder_loss(model: Any, images: Tensor) -> Tensor:
    return model.encoder(images, model.make_plan(images)).float().square().mean()


def _encoder_flops(path: Path) -> int:
    with torch.device("meta"):
        model: Any = _our_model(path)
    model.to("meta")
    with FlopCounterMode(display=False) as counter:
        _encoder_loss(model, torch.empty(1, 3, *model.encoder.img_size, device="meta")).backward()
    return counter.get_total_flops()


def _step(loss_of: Callable[[Tensor], Tensor], images: Tensor, optimizer: torch.optim.Optimizer) -> None:
    with torch.autocast(images.device.type, torch.bfloat16):
        loss = loss_of(images)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
