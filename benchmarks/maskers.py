"""Every masker's time for a batch, beside a training step of ViT-B."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from maetool.config.load import complete_config, load_config
from maetool.engine.optim.param_groups import decay_groups
from maetool.maskers import (
    AlignedMasker,
    BlockMasker,
    ColorNoiseMasker,
    GridMasker,
    InverseBlockMasker,
    MixedMasker,
    RandomMasker,
    ScheduledMasker,
)
from maetool.ops.random import sample_keys
from maetool.registry import MODELS

from .timing import measure, table


def run(
    config: str | Path, batch_size: int, grid: Sequence[int], step_batch: int, rounds: int
) -> tuple[str, dict[str, Any]]:
    """Time the plan of a batch with every masker, and a training step of ViT-B.

    Args:
        config: the ViT-B recipe.
        batch_size: images of a plan.
        grid: rows and columns of patches.
        step_batch: images of the step; its time is scaled up to `batch_size`.
        rounds: interleaved rounds.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.zeros(batch_size, 3, 1, 1, device=device)
    keys, grid = sample_keys(0, 0, torch.arange(batch_size, device=device)), tuple(grid)
    seconds = measure({n: lambda m=m: m(images, grid, keys=keys) for n, m in _maskers().items()}, rounds)
    banks = measure({c: lambda c=c: ColorNoiseMasker(c).make_bank(torch.device(device)) for c in ("red", "green")}, 3)
    step = measure({"step": _vit_b_step(config, step_batch, device)}, 3)["step"]
    step_seconds = min(step) * batch_size / step_batch
    worst = max(max(values) for values in seconds.values())
    report = (
        f"A plan for {batch_size} images on a grid of {grid} on {device}:\n{table(seconds, 'random')}\n\n"
        f"Making the noise bank, once:\n{table(banks, 'red')}\n\n"
        f"ViT-B training step: {min(step):.3f} s for {step_batch} images, {step_seconds:.1f} s for {batch_size};\n"
        f"the slowest plan of all rounds takes {worst / step_seconds:.3%} of that."
    )
    return report, {"device": device, "maskers": seconds, "banks": banks, "step": step}


def _maskers() -> dict[str, Callable]:
    return {
        "random": RandomMasker(),
        "block": BlockMasker(mask_ratio=0.75),
        "inverse block": InverseBlockMasker(mask_ratio=0.75),
        "aligned": AlignedMasker(mask_ratio=0.75),
        "grid": GridMasker(),
        **{c: ColorNoiseMasker(c) for c in ("white", "red", "blue", "green", "purple")},
        "green, one window": ColorNoiseMasker("green", per_sample=False),
        "random and block mixed": MixedMasker([RandomMasker(), BlockMasker(mask_ratio=0.75)]),
        "scheduled": ScheduledMasker([RandomMasker(), GridMasker()]),
    }


def _vit_b_step(config: str | Path, batch: int, device: str) -> Callable[[], None]:
    cfg = load_config(config)
    complete_config(cfg)
    model = MODELS.build(cfg.model).to(device)
    optimizer = torch.optim.AdamW(decay_groups(model), lr=1e-4, fused=True)
    images = torch.randn(batch, 3, 224, 224, device=device)

    def step() -> None:
        model(images)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
