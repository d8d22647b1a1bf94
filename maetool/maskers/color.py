"""Masks from coloured noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.geometry import format_size, to_size
from maetool.ops.masking import gaussian_lowpass
from maetool.ops.random import KeyedRandom, sample_keys
from maetool.reading import read_npz
from maetool.registry import MASKERS

from .base import Masker

Color = Literal["white", "red", "blue", "green", "purple"]
# Ranges of the deviations of the Gaussians, in patches. The paper does not state its own.
_SIGMAS: dict[str, dict[str, tuple[float, float]]] = {
    "white": {},
    "red": {"sigma1": (1.0, 3.0)},
    "blue": {"sigma1": (0.5, 2.0)},
    "green": {"sigma1": (0.5, 1.0), "sigma2": (1.5, 3.0)},
    "purple": {"sigma1": (0.5, 1.0), "sigma2": (1.5, 3.0)},
}

_MOST_IN_DEBUG = 16  # pictures of the bank


@MASKERS.register_module()
class ColorNoiseMasker(Masker):
    """Keeps the patches where coloured noise is largest.

    White noise W is filtered by Gaussians G: red G1*W (coarse), blue W - G1*W (fine), green G1*W - G2*W (a band
    between) and purple W - (G1*W - G2*W) (all but that band). A bank of such pictures, periodic at their edges, is made
    once from the seed on the device, and every sample cuts a window from it. Source: ColorMAE (ECCV 2024) for the
    colours, carlosh93/ColorMAE, `models/utils/masking_generator.py`, for the windows.

    Args:
        color: "white", "red", "blue", "green" or "purple".
        mask_ratio, predict_ratio: see `Masker`.
        sigma1, sigma2: ranges of the Gaussians' deviations in patches, drawn once for each picture; the defaults depend
            on the colour. Only green and purple have a second, and it must lie above the first.
        bank_size: (pictures, height, width) of the bank, in patches; larger grids are refused.
        bank_file: a .npz file whose first array (pictures, height, width) is the bank, as ColorMAE publishes them.
        per_sample: each sample draws its picture, place and flips. Otherwise the published behaviour: sample b of a
            batch takes picture b, and one place and flip are drawn for the whole batch.
        seed: of the bank.

    Raises:
        UsageError: an unknown colour, sigmas in the wrong order, or a bank file that cannot be used.
    """

    bank: Tensor | None

    def __init__(
        self,
        color: Color = "green",
        mask_ratio: float = 0.75,
        predict_ratio: float | None = None,
        sigma1: Sequence[float] | None = None,
        sigma2: Sequence[float] | None = None,
        bank_size: Sequence[int] = (3072, 64, 64),
        bank_file: str | None = None,
        per_sample: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(mask_ratio, predict_ratio)
        if color not in _SIGMAS:
            raise UsageError(f"color is {color!r}, but must be one of {', '.join(_SIGMAS)}.")
        self.color, self.per_sample, self.seed = color, per_sample, seed
        self.sigmas = _check_sigmas(color, sigma1, sigma2)
        self.bank_size = to_size(bank_size, "bank_size", rank=3)
        # Not in the state dict: it is a function of the arguments.
        self.register_buffer("bank", _read_bank(bank_file) if bank_file else None, persistent=False)

    @classmethod
    def debug_arguments(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the small form for `--debug`: a bank of few pictures takes no seconds."""
        number, *size = arguments["bank_size"]
        return {**super().debug_arguments(arguments), "bank_size": (min(number, _MOST_IN_DEBUG), *size)}

    def scores(self, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        """Return the negative noise (B, L) of a window for each sample."""
        self.bank = self.make_bank(rng.device) if self.bank is None else self.bank.to(rng.device)
        return -self._windows(self.bank, rng, to_size(grid, "grid")).flatten(1)

    def make_bank(self, device: torch.device) -> Tensor:
        """Return the bank of noise pictures, float32 (pictures, height, width), computed on `device`."""
        number, height, width = self.bank_size
        rng = KeyedRandom(sample_keys(self.seed, 0, torch.arange(number, device=device)))
        white = rng.uniform(height, width) - 0.5
        if self.color == "white":
            return white
        blurred = [gaussian_lowpass(white, low + (high - low) * rng.uniform(1)[:, 0]) for low, high in self.sigmas]
        band = blurred[0] - blurred[1] if len(blurred) == 2 else blurred[0]
        return white - band if self.color in ("blue", "purple") else band

    def _windows(self, bank: Tensor, rng: KeyedRandom, grid: tuple[int, ...]) -> Tensor:
        number, height, width = bank.shape
        if grid[0] > height or grid[1] > width:
            raise UsageError(
                f"A grid of {format_size(grid)} patches does not fit the noise bank of {format_size((height, width))}: "
                "set a larger bank_size, or give a larger bank_file."
            )
        draws = {"top": height + 1 - grid[0], "left": width + 1 - grid[1], "rows": 2, "columns": 2, "picture": number}
        drawn = {name: rng.integers(high, 1) for name, high in draws.items()}  # each (B, 1)
        if not self.per_sample:
            drawn = {name: value[:1].expand_as(value) for name, value in drawn.items()}
            drawn["picture"] = torch.arange(len(rng), device=rng.device)[:, None] % number
        rows = _sides(drawn["top"], grid[0], drawn["rows"])  # (B, h)
        columns = _sides(drawn["left"], grid[1], drawn["columns"])  # (B, w)
        return bank[drawn["picture"][:, :, None], rows[:, :, None], columns[:, None, :]]


def _sides(start: Tensor, length: int, flip: Tensor) -> Tensor:
    steps = torch.arange(length, device=start.device)
    return start + torch.where(flip == 1, length - 1 - steps, steps)


def _check_sigmas(
    color: str, sigma1: Sequence[float] | None, sigma2: Sequence[float] | None
) -> list[tuple[float, float]]:
    ranges = {"sigma1": sigma1, "sigma2": sigma2}
    for name, value in ranges.items():
        if value is not None and name not in _SIGMAS[color]:
            raise UsageError(f"{color} noise has no {name}, but got {value!r}: leave it out.")
        if value is not None and (len(value) != 2 or not 0 < value[0] <= value[1]):
            raise UsageError(f"{name} is {value!r}, but must be a range of positive numbers, such as (0.5, 1.0).")
    chosen = [ranges[name] or default for name, default in _SIGMAS[color].items()]
    sigmas = [(low, high) for low, high in chosen]
    if len(sigmas) == 2 and not sigmas[0][1] < sigmas[1][0]:
        raise UsageError(f"sigma1 {sigmas[0]} does not lie below sigma2 {sigmas[1]}: their ranges must not overlap.")
    return sigmas


def _read_bank(path: str) -> Tensor:
    if not Path(path).is_file():
        raise UsageError(f"There is no noise bank {path}: give the path of a .npz file, or leave bank_file out.")
    try:
        bank = next(iter(read_npz(path).values()))
    except (OSError, ValueError, StopIteration) as error:
        raise UsageError(f"The noise bank {path} cannot be read ({error}): copy it again.") from error
    if bank.ndim != 3 or bank.dtype.kind not in "fiu" or not np.isfinite(bank).all():
        raise UsageError(
            f"The noise bank {path} holds an array of shape {bank.shape} and type {bank.dtype}, but must hold finite "
            "numbers of shape (pictures, height, width)."
        )
    return torch.from_numpy(bank.astype(np.float32))
