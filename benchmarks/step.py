"""A pretraining step of maetool, compared with other libraries: its parts, its share of the peak, its memory."""

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from maetool.compat import keep_freed_memory, peak_memory
from maetool.config.debug import mappings
from maetool.config.load import complete_config, load_config
from maetool.config.paths import configs_folder, find_config
from maetool.engine.optim.param_groups import decay_groups
from maetool.errors import UsageError
from maetool.layers import Block
from maetool.ops.cpu import product
from maetool.registry import MODELS

from . import overhead, peers
from .step_table import table

_CODES = 8192  # of the published tokenizers


@dataclass(frozen=True)
class Case:
    """One row: a method at a size and in a precision, compiled or not."""

    method: str
    config: Path
    dtype: str
    batch_size: int
    compiled: bool = False
    options: tuple[str, ...] = ()  # changes of the config, KEY=VALUE

    def __str__(self) -> str:
        name = f"{self.config.parent.name} {self.size}" if self.method == "ours" else f"{self.method} {self.size}"
        return " ".join([name, self.dtype, *["compiled"] * self.compiled, *self.options])

    @property
    def size(self) -> str:
        """The size's name, for example "vit-b"."""
        return self.config.name.split("_")[0]


def run(
    configs: Sequence[str | Path],
    methods: Sequence[str] | None,
    dtypes: Sequence[str],
    batch_size: int,
    compiled: bool,
    steps: int,
    rounds: int,
    safety: bool = False,
    also: Sequence[str] = (),
) -> tuple[str, dict[str, Any]]:
    """Time training steps, each case of each round in a fresh process, so that memory is its own.

    Args:
        configs: paths or names of recipes; the folder's name is the method's, the file's first part the size's. Or
            "all", see `base_recipes`.
        methods: "ours", which is maetool, and names of peers, measured once for each size; by default all peers that
            are installed and have the size.
        dtypes: "float32" and "bfloat16", the latter by autocast.
        batch_size: images of a step.
        compiled: measure every method with `torch.compile` too.
        steps: timed steps of a case in a round, after two to warm up.
        rounds: interleaved rounds.
        safety: instead, time the loop of the first recipe with and without what makes it safe.
        also: measure every recipe of maetool also with these changes of its config, KEY=VALUE.

    Raises:
        UsageError: `also` where no recipe of maetool is compared.
    """
    configs = base_recipes() if list(map(str, configs)) == ["all"] else [find_config(config) for config in configs]
    if also and (safety or "ours" not in (methods or ["ours"])):
        raise UsageError("--also changes maetool's recipes in the comparison: leave it out, or --safety and --methods.")
    if safety:
        return overhead.run(configs[0], batch_size, steps, rounds)
    cases = [
        Case(method, config, dtype, batch_size, variant, options)
        for dtype in dtypes
        for variant in ((False, True) if compiled else (False,))
        for method, config in _pairs(configs, methods)
        for options in ([(), tuple(also)] if also and method == "ours" else [()])
    ]
    memory = {case: alone(_measure, case, 1, False)["memory"] for case in cases}
    peaks = {dtype: alone(_peak, dtype) for dtype in dtypes}
    flops = {
        key: alone(_useful_flops, *key) * batch_size for key in dict.fromkeys((c.config, c.options) for c in cases)
    }
    results_of: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            results_of[case].append(alone(_measure, case, steps))
    report = f"{batch_size} images a step on {device()}, {rounds} rounds of {steps} steps; memory by {allocator()}.\n"
    report += "".join(f"Largest matrix product rate, {d}: {peak / 1e9:,.0f} GFLOP/s.\n" for d, peak in peaks.items())
    ideal = {case: flops[case.config, case.options] / peaks[case.dtype] for case in cases}
    report += table(results_of, ideal, memory)
    figures = {
        "device": device(),
        "allocator": allocator(),
        "peaks": peaks,
        "flops": {" ".join([str(config), *options]): n for (config, options), n in flops.items()},
        "memory": {str(c): m for c, m in memory.items()},
    }
    return report, {**figures, "cases": {str(case): results for case, results in results_of.items()}}


def base_recipes() -> list[Path]:
    """Return the base-sized pretraining recipe of every method on images, MAE's first.

    Of recipes that differ in epochs or in where they hide patches, which cost the same, one; one more for each encoder
    and for each number of predicted patches.
    """
    recipe_of: dict[tuple[str, str, float | None], Path] = {}
    recipes = configs_folder("maetool").glob("*/*-b*_*e.py")
    for path in sorted(recipes, key=lambda path: (path.parent.name != "mae", len(path.name), path)):
        model = load_config(path).model
        masker, size = model.get("masker"), model.get("encoder", {}).get("img_size")
        of_images = isinstance(size, int) or (isinstance(size, Sequence) and len(size) == 2) or size is None
        if masker is not None and of_images and "stems" not in model.encoder:
            recipe_of.setdefault((path.parent.name, path.name.split("-b")[0], masker.get("predict_ratio")), path)
    first, *others = recipe_of.values()
    return [first, *sorted(others)]


def _pairs(configs: Sequence[Path], methods: Sequence[str] | None) -> list[tuple[str, Path]]:
    known = ["ours", *peers.present()]
    methods = methods or known
    if unknown := [method for method in methods if method not in known]:
        raise UsageError(
            f"--methods has {unknown[0]!r}, but this environment has {', '.join(known)}: pip install -e .[bench] adds "
            "others, and benchmarks/gpu.sh measures timm's encoder."
        )
    own = [("ours", config) for config in configs if "ours" in methods]
    sizes = {config.name.split("_")[0]: config for config in reversed(configs)}  # the first config of each
    return own + [(m, c) for size, c in sizes.items() if size in peers.SIZES for m in methods if m != "ours"]


def alone(function: Callable, *args: Any) -> Any:
    """Call a function in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def device() -> str:
    """Return where steps are measured."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def allocator() -> str:
    """Return what hands out the memory of tensors: on it depends how much more the process holds than it uses."""
    if torch.cuda.is_available():
        return "torch"
    return Path(os.environ.get("LD_PRELOAD", "")).name or " ".join(platform.libc_ver()) or platform.system()


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _measure(case: Case, steps: int, keep: bool = True) -> dict[str, Any]:
    """Return the seconds of the parts of each step, and the most bytes that the steps held; `keep`: see compat."""
    keep_freed_memory(keep)
    torch.manual_seed(0)
    with torch.device("meta"):
        _build(case)  # imports what the method needs, so that it is not counted
    before = _peak_memory()
    step = stepper(case)
    seconds = [step() for _ in range(steps + 2)][2:]
    return {"seconds": seconds, "memory": _peak_memory() - before}


def stepper(case: Case) -> Callable[[], list[float]]:
    """Return a function that makes a training step and returns the seconds of forward, backward and optimiser."""
    model, loss_of = _build(case)
    size = model.encoder.img_size if case.method == "ours" else (224, 224)
    model.to(device()).train()
    optimizer = torch.optim.AdamW(decay_groups(model), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True)
    images = torch.randn(case.batch_size, 3, *size, device=device())
    return partial(_step, loss_of, images, optimizer, getattr(torch, case.dtype))


def _build(case: Case) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    if case.method != "ours":
        model, loss_of = peers.build(case.method, case.size)
        return model, torch.compile(loss_of, dynamic=False) if case.compiled else loss_of
    model = _our_model(case.config, case.options)
    for block in model.modules() if case.compiled else ():
        if isinstance(block, Block):
            block.compile(dynamic=False)
    return model, lambda images: model(images)["loss"]


def _our_model(config: Path, options: Sequence[str] = ()) -> nn.Module:
    """Build the model; a teacher or tokenizer without a file has random weights, which cost the same."""
    cfg = load_config(config, options)
    complete_config(cfg)
    for part in mappings(cfg.model):
        for name, instead in (("checkpoint", None), ("codebook", _CODES)):
            if isinstance(part.get(name), str) and not Path(part[name]).exists():
                part[name] = instead
    return MODELS.build(cfg.model)


def _step(
    loss_of: Callable[[Tensor], Tensor], images: Tensor, optimizer: torch.optim.Optimizer, dtype: torch.dtype
) -> list[float]:
    times = [time.perf_counter()]
    with torch.autocast(images.device.type, dtype, enabled=dtype is not torch.float32):
        loss = loss_of(images)
    for part in (lambda: None, loss.backward, lambda: (optimizer.step(), optimizer.zero_grad())):
        part()
        _synchronise()
        times.append(time.perf_counter())
    return [later - earlier for earlier, later in pairwise(times)]


def _peak_memory() -> float:
    """Return the most bytes that this process has held so far: on the GPU, or without one in memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return peak_memory()


def _peak(dtype: str, seconds: float = 1.0) -> float:
    """Return the best rate of matrix products in FLOP per second, of PyTorch's and maetool's."""
    side = 8192 if torch.cuda.is_available() else 2048
    a, b = (torch.randn(side, side, device=device(), dtype=getattr(torch, dtype)) for _ in range(2))
    best = 0.0
    for multiply in (torch.matmul, product):
        multiply(a, b)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            _synchronise()
            start = time.perf_counter()
            multiply(a, b)
            _synchronise()
            best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def _useful_flops(config: Path, options: Sequence[str] = ()) -> int:
    """Return the operations of the matrix products that a step needs for one image, counted without computing.

    What targets need, such as a teacher's forward pass, is not counted.
    """
    with torch.device("meta"):
        model = _our_model(config, options)
    model.to("meta")  # what was made elsewhere, such as tables of positions
    images = torch.empty(1, 3, *model.encoder.img_size, device="meta")
    with FlopCounterMode(display=False) as counter:
        plan = model.make_plan(images)
        plans = [plan, *(plan.predicting(task.at) for task in model.tasks.values())]
        parts = zip(model.decoders, model.read(images, plan), plans, strict=True)
        sum(decoder(latent, plan).sum() for decoder, latent, plan in parts).backward()
    return counter.get_total_flops()
