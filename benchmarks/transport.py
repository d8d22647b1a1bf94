"""The highest rate at which a worker hands over images, and the rate of normalisation."""

from functools import partial
from statistics import median
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from maetool.data import ImageDataset, ImagePreprocessor, KeyedSampler, collate_samples

from .timing import measure, use_up

_SIDE, _BATCH = 224, 64


class _Ready(ImageDataset):
    """Images that cost nothing to load, as uint8 or as float32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.image = torch.zeros(3, _SIDE, _SIDE, dtype=dtype)

    def __len__(self) -> int:
        return 40 * _BATCH

    def load(self, index: int) -> dict[str, Any]:
        return {"inputs": self.image, "skipped": ""}


def rates(rounds: int) -> dict[str, list[float]]:
    """Return images a second that one worker hands over, and that the preprocessor normalises on the CPU."""
    cases = {}
    for dtype in (torch.uint8, torch.float32):
        for collate, how in ((collate_samples, ""), (default_collate, ", PyTorch's collate")):
            data = _Ready(dtype)
            loader = DataLoader(
                data,
                _BATCH,
                sampler=KeyedSampler(data),
                num_workers=1,
                prefetch_factor=4,
                persistent_workers=True,
                collate_fn=collate,
            )
            cases[f"one worker hands over {str(dtype).removeprefix('torch.')}{how}"] = partial(use_up, loader)
    normalise, batch = ImagePreprocessor(), torch.zeros(_BATCH, 3, _SIDE, _SIDE, dtype=torch.uint8)
    for training, memory in ((True, "kept"), (False, "fresh")):
        cases[f"normalising on the CPU, {memory} memory"] = lambda training=training: [
            normalise({"inputs": batch}, training) for _ in range(40)
        ]
    return {name: [40 * _BATCH / value for value in values] for name, values in measure(cases, rounds).items()}


def describe(rates_of: dict[str, list[float]]) -> str:
    """Return the result of `rates` as a table."""
    lines = [f"{'images of 224 pixels, without loading':<48} {'images/s':>9} {'lowest':>7}"]
    lines += [f"{name:<48} {median(values):>9.0f} {min(values):>7.0f}" for name, values in rates_of.items()]
    return "\n".join(lines)
