"""Measures speed side by side: `python tools/benchmark.py maskers`."""

import argparse
import json
from pathlib import Path

from maetool.cli import run


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    maskers = commands.add_parser("maskers", help="every masker, beside a ViT-B step")
    maskers.add_argument("--batch-size", type=int, default=4096)
    maskers.add_argument("--grid", type=int, nargs=2, default=[14, 14])
    maskers.add_argument("--step-batch", type=int, default=8, help="images of the ViT-B step; its time is scaled up")
    for command in commands.choices.values():
        command.add_argument("--rounds", type=int, default=7)
        command.add_argument("--json", metavar="FILE", help="write the seconds of every round")
    return parser.parse_args()


def maskers(args: argparse.Namespace) -> dict:
    """Time the plan of a batch with every masker, and a training step of ViT-B."""
    import torch

    from maetool.evaluation.benchmark import measure, table
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

    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.zeros(args.batch_size, 3, 1, 1, device=device)
    keys, grid = sample_keys(0, 0, torch.arange(args.batch_size, device=device)), tuple(args.grid)
    parts = {
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
    seconds = measure({n: lambda m=m: m(images, grid, keys=keys) for n, m in parts.items()}, args.rounds)
    banks = measure({c: lambda c=c: ColorNoiseMasker(c).make_bank(torch.device(device)) for c in ("red", "green")}, 3)
    step = measure({"step": _vit_b_step(args.step_batch, device)}, 3)["step"]
    print(f"A plan for {args.batch_size} images on a grid of {grid} on {device}:\n{table(seconds, 'random')}")
    print(f"\nMaking the noise bank, once:\n{table(banks, 'red')}")
    whole = min(step) * args.batch_size / args.step_batch
    worst = max(max(values) for values in seconds.values())
    print(
        f"\nViT-B training step: {min(step):.3f} s for {args.step_batch} images, {whole:.1f} s for {args.batch_size};"
    )
    print(f"the slowest plan of all rounds takes {worst / whole:.3%} of that.")
    return {"device": device, "maskers": seconds, "banks": banks, "step": step}


def _vit_b_step(batch: int, device: str):
    import torch

    from maetool.engine.config import complete_config, load_config
    from maetool.engine.optim import decay_groups
    from maetool.registry import MODELS

    cfg = load_config(Path(__file__).parents[1] / "configs/mae/vit-b_800e.py")
    complete_config(cfg)
    model = MODELS.build(cfg.model).to(device)
    optimizer = torch.optim.AdamW(decay_groups(model), lr=1e-4, fused=True)
    images = torch.randn(batch, 3, 224, 224, device=device)

    def step() -> None:
        model(images)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """Measure, print a table, write JSON."""
    args = parse_args()
    found = {"maskers": maskers}[args.command](args)
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
