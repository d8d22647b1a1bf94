"""What safety costs: guard, exact sampling and safe checkpoints, against the plain loop of a tutorial."""

import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from maetool.config.load import complete_config, load_config
from maetool.data.datasets.base import ImageDataset
from maetool.data.samplers import KeyedSampler
from maetool.engine.optim.param_groups import decay_groups
from maetool.engine.optim.wrapper import AutocastOptimWrapper
from maetool.ops.random import sample_keys
from maetool.registry import MODELS
from maetool.weights.work_dir import save_as_last
from maetool.weights.write import write_checkpoint

from .timing import measure, table

_STEPS_BETWEEN_SAVES = 250
_PIPELINE = ({"type": "RandomResizedCrop"}, {"type": "RandomHorizontalFlip"})


class KeptImages(ImageDataset):
    """Noise images that are kept in memory, so that only what belongs to the sampling is timed."""

    def __init__(self, number: int, size: tuple[int, int]) -> None:
        super().__init__([{**part, "size": size} if "Crop" in part["type"] else part for part in _PIPELINE])
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(0, 256, (number, 3, *size), dtype=torch.uint8, generator=generator)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def load(self, index: int) -> dict[str, Any]:
        """Return an image."""
        return {"inputs": self.images[index]}


class PlainImages(Dataset):
    """The same images and crops, with the randomness of the process."""

    def __init__(self, kept: KeptImages) -> None:
        self.kept = kept

    def __len__(self) -> int:
        """Number of images."""
        return len(self.kept)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return an augmented image."""
        image = self.kept.images[index]
        for transform in self.kept.transforms:
            image = transform(image)
        return {"inputs": image}


class Loop:
    """Some steps of training; plain, or with everything that makes it safe."""

    def __init__(self, config: Path, batch_size: int, steps: int) -> None:
        cfg = load_config(config)
        complete_config(cfg)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = MODELS.build(cfg.model).to(self.device)
        optimizer = torch.optim.AdamW(decay_groups(self.model), lr=1e-5, fused=True)
        self.wrapper = AutocastOptimWrapper(optimizer)
        self.batch_size, self.size = batch_size, self.model.encoder.img_size
        self.kept = KeptImages(batch_size * steps, self.size)

    def plain(self) -> None:
        """Shuffle, step."""
        for data in DataLoader(PlainImages(self.kept), self.batch_size, shuffle=True):
            self.wrapper.guard = False
            self.model.train_step(data, self.wrapper)

    def safe(self) -> None:
        """Sample by key, step under guard."""
        sampler = KeyedSampler(self.kept)
        for number, data in enumerate(DataLoader(self.kept, self.batch_size, sampler=sampler)):
            self.wrapper.guard = True
            torch.manual_seed(int(sample_keys(0, number, torch.tensor(0))))
            self.model.train_step(data, self.wrapper)

    def state(self) -> dict[str, Any]:
        """Return the state to save."""
        return {"state_dict": self.model.state_dict(), "optimizer": self.wrapper.state_dict()}


def run(config: Path, batch_size: int, steps: int, rounds: int) -> tuple[str, dict[str, Any]]:
    """Time both loops in interleaved rounds, and both ways to write a checkpoint.

    Args:
        config: recipe of the model.
        batch_size: images of a step.
        steps: steps of a round.
        rounds: rounds of each.

    Returns:
        The report, and the seconds of every round.
    """
    loop = Loop(config, batch_size, steps)
    loops = measure({"plain loop": loop.plain, "safe loop": loop.safe}, rounds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "epoch_1.pth"
        writers = {"torch.save": lambda: torch.save(loop.state(), path), "safe save": lambda: _save(loop, path)}
        saves = measure(writers, rounds)
    step = median(loops["plain loop"]) / steps
    extra = (median(saves["safe save"]) - median(saves["torch.save"])) / _STEPS_BETWEEN_SAVES
    ratio = median(safe / plain for plain, safe in zip(*loops.values(), strict=True)) - 1 + extra / step
    report = (
        f"{config.stem}, {batch_size} images a step, {steps} steps a round, {loop.wrapper.dtype} on {loop.device}\n"
        f"{table(loops, 'plain loop')}\n\n{table(saves, 'torch.save')}\n\n"
        f"A step takes {step:.3f} s; safety, with a checkpoint every {_STEPS_BETWEEN_SAVES} steps, costs {ratio:.2%}."
    )
    return report, {"loops": loops, "saves": saves}


def _save(loop: Loop, path: Path) -> None:
    write_checkpoint(loop.state(), path)
    save_as_last(path)
