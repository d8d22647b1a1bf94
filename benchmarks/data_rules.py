r"""Which pretraining fits which data: trains tiny encoders on small sets, and judges them with few and all labels.

Write the sets with `data_sets.py` first. Results are appended to a file, a line for each training, so that the queue
may be stopped at any time; the same command goes on:

    python -m benchmarks.data_rules SETS RESULTS.jsonl [--sets NAME ...] [--runs NAME ...] [--seeds 0 1 2]
    python -m benchmarks.data_rules SETS RESULTS.jsonl --table [--against RUN]

Every encoder is a ViT of three blocks of width 64 on a grid of about 8 x 8 patches (3 x 3 for `bands`). A run changes
one thing of the recipe `base`. Judged are mean features by ridge regression on 10, 40, 100, 200 and all labels, each
but the last drawn ten times, by the accuracy on images held out, beside raw pixels, their principal components, HOG,
and the encoder before training; `scratch` trains the same encoder with the labels alone, of which every seed draws its
own: `--runs scratch --seeds 0 1 2 3 4 5 6 7 8 9`, of which all labels, which are not drawn, get the first three.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional

from maetool.config.load import load_config
from maetool.data.datasets.labels import labels_of
from maetool.engine.optim.param_groups import decay_groups
from maetool.evaluation import hog_features
from maetool.evaluation.few_labels import draw_labels
from maetool.inspection.inspect import Effort, inspect_data
from maetool.inspection.statistics import options_for
from maetool.pretrained.extract import build_for, extract
from maetool.pretrained.frozen import build_frozen, features_of
from maetool.registry import DATASETS, MODELS

from .data_table import from_scratch, gains, summary, to_markdown

LABELS = (10, 40, 100, 200, None)
_DRAWS, _SEEDS = 10, 3
_STEPS, _BATCH, _RATE = 900, 32, 2e-3
# What each run changes; all else is as in `base`: normalised pixels, 75 % of the patches hidden at random, crops of
# 0.6 to 1 of the area, 900 steps of 32 images.
RUNS: dict[str, dict[str, Any]] = {
    "untrained": {"steps": 0},  # what a training of the same seed begins with
    "base": {},
    "plain": {"target": {"type": "PixelTarget", "norm_pix_loss": False}},
    "HOG target": {"target": {"type": "HOGTarget"}},
    "long": {"steps": 3 * _STEPS},
    "strong crop": {"scale": (0.2, 1.0)},
    "ratio 0.5": {"masker": {"type": "RandomMasker", "mask_ratio": 0.5}},
    "plain, ratio 0.5": {
        "target": {"type": "PixelTarget", "norm_pix_loss": False},
        "masker": {"type": "RandomMasker", "mask_ratio": 0.5},
    },
    "HOG, ratio 0.5": {"target": {"type": "HOGTarget"}, "masker": {"type": "RandomMasker", "mask_ratio": 0.5}},
    "blocks": {"masker": {"type": "BlockMasker", "mask_ratio": 0.75}},
    "large patch": {"patch": 2},
    "short": {"steps": _STEPS // 3},
    "ratio 0.9": {"masker": {"type": "RandomMasker", "mask_ratio": 0.9}},
    "plain long": {"target": {"type": "PixelTarget", "norm_pix_loss": False}, "steps": 3 * _STEPS},
}
_SIZES = {"bands": (6, 2, 4), "digits": (8, 2, 1), "fashion": (28, 4, 1), "faces": (24, 3, 1)}  # side, patch, channels
_GREY = ("glyphs", "brain", "nuclei")


def section_of(name: str, folder: Path, run: str) -> dict[str, Any]:
    """Return the model section of a training on the set `name`."""
    side, patch, channels = _SIZES.get(name, (32, 4, 1 if name in _GREY else 3))
    changes = RUNS.get(run, {})
    if "patch" in changes:
        patch = next((larger for larger in range(changes["patch"] * patch, side) if side % larger == 0), side)
    options = [
        f"model.encoder.img_size={side}",
        f"model.encoder.patch_size={patch}",
        f"model.encoder.in_chans={channels}",
    ]
    options += ["model.encoder.embed_dim=64", "model.encoder.depth=3", "model.decoder.embed_dim=48"]
    section = load_config("configs/mae/vit-t_shapes.py", options + normalisation(folder)).model.to_dict()
    for part in ("target", "masker"):
        section[part] = dict(changes.get(part, section[part]))
    return section


@lru_cache
def normalisation(folder: Path) -> list[str]:
    """Return the options of the mean and deviation of the images of a set."""
    report = inspect_data(str(folder / "train"), "pretraining", Effort(max_images=300))
    return [option for option in options_for(report.pixels, flat=1.0) if "in_chans" not in option]


def pretrain(name: str, folder: Path, run: str, seed: int) -> tuple[Any, dict[str, float]]:
    """Train, and return the model and the mean losses of the last 50 steps, its own and a constant prediction's."""
    section, changes = section_of(name, folder, run), RUNS[run]
    side, steps = section["encoder"]["img_size"], changes.get("steps", _STEPS)
    torch.manual_seed(seed)
    model = MODELS.build({**section, "type": "MaskedImageModel"})
    if not steps:
        return model.eval(), {}
    place = {"type": "ImageFolderDataset", "root": str(folder / "train"), "in_chans": section["encoder"]["in_chans"]}
    dataset = DATASETS.build({**place, "pipeline": [{"type": "Resize", "size": side * 3 // 2 if side == 32 else side}]})
    images = torch.stack([dataset[index]["inputs"] for index in range(len(dataset))])
    images = model.data_preprocessor({"inputs": images})["images"]
    optimizer = torch.optim.AdamW(decay_groups(model), _RATE, weight_decay=0.05, betas=(0.9, 0.95), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps, pct_start=0.1, cycle_momentum=False)
    rng, losses = np.random.default_rng(seed), []
    for step in range(steps):
        batch = images[rng.integers(len(images), size=_BATCH)]
        batch = crops(batch, side, changes.get("scale", (0.6, 1.0)), rng)
        keys = torch.from_numpy(rng.integers(2**62, size=_BATCH))
        found = model(batch, {"key": keys})
        found["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step >= steps - 50:
            losses.append({key: value.item() for key, value in found.items()})
    return model.eval(), {key: round(float(np.mean([each[key] for each in losses])), 4) for key in losses[0]}


def crops(images: Tensor, side: int, scale: tuple[float, float], rng: np.random.Generator) -> Tensor:
    """Return random boxes of images (B, C, H, W), of a share of the area in the range `scale`, resized to `side`."""
    if side < 16:  # of so few pixels a crop is another picture
        return images
    number = len(images)
    area, aspect = rng.uniform(*scale, size=number), np.exp(rng.uniform(-0.29, 0.29, size=number))
    sides = np.sqrt(np.stack([area * aspect, area / aspect])).clip(max=1.0)  # (2, B): shares of width and height
    middle = rng.uniform(-1, 1, size=sides.shape) * (1 - sides)
    theta = torch.zeros(number, 2, 3)
    for axis in (0, 1):
        theta[:, axis, axis], theta[:, axis, 2] = torch.from_numpy(sides[axis]), torch.from_numpy(middle[axis])
    grid = functional.affine_grid(theta, [number, images.shape[1], side, side], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def judged(folder: Path, model: Any, features: Mapping[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Return the accuracies of the draws in percent, by the name of the features and the number of labels."""
    found = {}
    for part in ("train", "val"):
        dataset = build_for(model, {"type": "ImageFolderDataset", "root": str(folder / part), "with_labels": True})
        found[part] = extract(model, dataset, features, part, workers=0)
        classes = labels_of(dataset).classes
    if "pca" in features:
        _reduce(found)
    scores: dict[str, dict[str, list[float]]] = {}
    for name in features:
        for number in numbers_of(len(classes), len(found["train"]["label"])):
            drawn = [_accuracy(found, name, number, draw) for draw in range(_DRAWS if number else 1)]
            scores.setdefault(name, {})[str(number or "all")] = [round(value, 2) for value in drawn]
    return scores


def numbers_of(classes: int, images: int) -> list[int | None]:
    """Return the numbers of labels to judge with: at least one for each class, and at most all."""
    return [number for number in LABELS if number is None or classes <= number <= images]


def _accuracy(found: dict[str, dict[str, Tensor]], name: str, number: int | None, draw: int) -> float:
    """Return the mean accuracy of the classes in percent, by ridge regression on drawn labels."""
    train, val = found["train"], found["val"]
    chosen = draw_labels(train["label"], number, torch.Generator().manual_seed(draw))
    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-1, 5, 13)))
    probe.fit(train[name][chosen].numpy(), train["label"][chosen].numpy())
    return mean_accuracy(torch.from_numpy(probe.predict(val[name].numpy())), val["label"])


def mean_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Return the mean over the classes of the share of right predictions, in percent."""
    return float(np.mean([(predicted[labels == k] == k).float().mean() * 100 for k in labels.unique()]))


def _reduce(found: dict[str, dict[str, Tensor]]) -> None:
    """Replace the features `pca`, which are pixels, by their 64 principal components."""
    mean = found["train"]["pca"].mean(dim=0)
    rank = min(64, *found["train"]["pca"].shape)
    torch.manual_seed(0)
    axes = torch.pca_lowrank(found["train"]["pca"] - mean, rank, center=False)[2]
    for part in found.values():
        part["pca"] = (part["pca"] - mean) @ axes


def scratch(folder: Path, section: Mapping[str, Any], number: int | None, seed: int, steps: int = 300) -> float:
    """Train an encoder and a linear layer with `number` labels, and return the accuracy in percent."""
    model = build_frozen(section)
    parts = {}
    for part in ("train", "val"):
        dataset = build_for(model, {"type": "ImageFolderDataset", "root": str(folder / part), "with_labels": True})
        images = {"images": lambda _, images: images}
        parts[part] = extract(model, dataset, images, part, workers=0)
    torch.manual_seed(seed)
    encoder = model.encoder.requires_grad_(True).train()
    train, val = parts["train"], parts["val"]
    chosen = draw_labels(train["label"], number, torch.Generator().manual_seed(seed))
    head = torch.nn.Linear(section["encoder"]["embed_dim"], int(train["label"].max()) + 1)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps)
    pooled = features_of(model)
    for _ in range(steps):
        index = chosen[torch.randint(len(chosen), (64,))]
        images = train["images"][index]
        shift = torch.randint(-2, 3, (2,)).tolist() if images.shape[-1] > 8 else [0, 0]
        loss = functional.cross_entropy(head(pooled(model, images.roll(shift, (2, 3)))), train["label"][index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    encoder.eval()
    with torch.no_grad():
        told = torch.cat([head(pooled(model, part)).argmax(1) for part in val["images"].split(200)])
    return round(mean_accuracy(told, val["label"]), 2)


def measure(name: str, folder: Path, run: str, seed: int) -> dict[str, Any]:
    """Return the line of one training."""
    began = time.process_time()
    line: dict[str, Any] = {"set": name, "run": run, "seed": seed}
    section = section_of(name, folder, run)
    if run == "scratch":
        total, classes = len(list((folder / "train").rglob("*.*"))), len(list((folder / "train").iterdir()))
        numbers = [number for number in numbers_of(classes, total) if number or seed < _SEEDS]
        line["scores"] = {"scratch": {str(n or "all"): [scratch(folder, section, n, seed)] for n in numbers}}
    elif run == "baselines":
        pixels = lambda model, images: functional.adaptive_avg_pool2d(images, min(16, images.shape[-1])).flatten(1)  # noqa: E731
        features = {"pixels": pixels, "pca": pixels, "hog": hog_features}
        line["scores"] = judged(folder, build_frozen(section), features)
    else:
        trained, line["losses"] = pretrain(name, folder, run, seed)
        model = build_frozen(section)
        model.encoder.load_state_dict(trained.encoder.state_dict())
        line["scores"] = judged(folder, model, {"pretrained": features_of(model)})
    return line | {"seconds": round(time.process_time() - began, 1)}


def main() -> None:
    """Work through the queue, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", nargs="+", metavar="SET", help="sets to measure (default: all)")
    parser.add_argument("--runs", nargs="+", default=["baselines", *RUNS, "scratch"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[*range(_SEEDS)])
    parser.add_argument("--table", action="store_true", help="print what was measured, and measure nothing")
    compared = "what the runs are compared with in the tables (default: %(default)s)"
    parser.add_argument("--against", default="untrained", choices=RUNS, metavar="RUN", help=compared)
    args = parser.parse_args()
    if args.table:
        of_runs = summary(args.results, args.against), gains(args.results, args.against)
        tables = *of_runs, from_scratch(args.results), to_markdown(args.results)
        sys.stdout.write("\n\n".join(tables) + "\n")
        return
    names = args.only or sorted(path.name for path in args.sets.iterdir())
    lines = args.results.read_text().splitlines() if args.results.is_file() else []
    done = {(line["set"], line["run"], line["seed"]) for line in map(json.loads, lines)}
    for seed in args.seeds:
        for name in names:
            for run in args.runs:
                if (name, run, seed) in done or (run == "baselines" and seed):
                    continue
                line = measure(name, args.sets / name, run, seed)
                with args.results.open("a") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
