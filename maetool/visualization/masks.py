"""Pictures and statistics of masks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from maetool.ops.random import sample_keys

from .pictures import hidden_colour, new_figure, save_figure
from .reconstruction import displayable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EXAMPLES = 4


@dataclass(frozen=True)
class MaskStatistics:
    """Statistics of many masks.

    Attributes:
        rate: (h, w), how often each position is visible.
        clusters: sizes of the visible clusters (patches that touch along a side), one entry for each visible patch.
        frequency: in cycles per patch.
        power: radially averaged power at `frequency`, in units of that of white noise of the same rate.
    """

    rate: np.ndarray
    clusters: np.ndarray
    frequency: np.ndarray
    power: np.ndarray


def mask_statistics(masks: Tensor) -> MaskStatistics:
    """Return the statistics of masks, bool (N, h, w), 1 = removed."""
    return MaskStatistics((~masks).float().mean(0).numpy(), _clusters(masks), *_spectrum(masks.float()))


def _clusters(masks: Tensor) -> np.ndarray:
    sizes = []
    for visible in (~masks).numpy().astype(np.uint8):
        _, _, stats, _ = cv2.connectedComponentsWithStats(visible, connectivity=4)
        areas = stats[1:, cv2.CC_STAT_AREA]
        sizes.append(np.repeat(areas, areas))
    return np.concatenate(sizes)


def _spectrum(masks: Tensor) -> tuple[np.ndarray, np.ndarray]:
    _, height, width = masks.shape
    share = masks.mean().item()
    power = torch.fft.fft2(masks - masks.mean((1, 2), keepdim=True)).abs().square().mean(0)
    power = power / (height * width * share * (1 - share))
    radius = (torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.fftfreq(width)[None, :] ** 2).sqrt()
    step = 1 / max(height, width)
    rings = (radius / step).round().long().flatten()
    count = torch.bincount(rings)
    mean = torch.bincount(rings, weights=power.flatten().double()) / count
    kept = (count > 0) & (torch.arange(len(count)) > 0)  # the mean itself is not a frequency
    return (torch.arange(len(count))[kept] * step).numpy(), mean[kept].numpy()


def draw_masks(
    maskers: Mapping[str, nn.Module], images: Tensor, grid: tuple[int, int], path: Path, draws: int = 2048
) -> dict[str, MaskStatistics]:
    """Write the figure of `masks_figure` to `path`, and return its statistics; other arguments as in `masks_figure`."""
    figure, statistics = masks_figure(maskers, images, grid, draws)
    save_figure(figure, path)
    return statistics


def masks_figure(
    maskers: Mapping[str, nn.Module],
    images: Tensor | Mapping[str, Tensor],
    grid: tuple[int, ...] | Mapping[str, tuple[int, ...]],
    draws: int = 2048,
) -> tuple["Figure", dict[str, MaskStatistics]]:
    """Draw one row for each masker: masks on images, visible rate, cluster sizes, spectrum.

    Of clips and of masks of three axes the middle frame and slice are shown and measured.

    Args:
        maskers: maskers by name.
        images: (N, C, *size), at least one, or ids (N, *grid); masks are drawn on the first ones. Or name to such.
        grid: patches along each axis, or name to them.
        draws: number of masks for the statistics.

    Returns:
        The figure, and the statistics by name.
    """
    figure = new_figure(1.5 * _EXAMPLES + 8.5, 1.9 * len(maskers) + 0.4, dpi=100)
    rows = figure.subplots(len(maskers), _EXAMPLES + 3, squeeze=False, width_ratios=[1] * _EXAMPLES + [1.2, 1.6, 1.6])
    statistics = {}
    for axes, (name, masker) in zip(rows, maskers.items(), strict=True):
        own = images[name] if isinstance(images, Mapping) else images
        cells = grid[name] if isinstance(grid, Mapping) else grid
        masks, pictures = _drawn(masker, own, cells, draws), _pictures(own, len(cells))
        statistics[name] = mask_statistics(masks)
        for i, axis in enumerate(axes[:_EXAMPLES]):
            axis.imshow(_overlay(pictures[i % len(pictures)], masks[i]))
            axis.set(xticks=[], yticks=[])
        axes[0].set_ylabel(name)
        _draw_statistics(axes[_EXAMPLES:], statistics[name])
    for axis, title in zip(
        rows[0][_EXAMPLES:], ("visible rate", "cluster size of visible patches", "power / white"), strict=True
    ):
        axis.set_title(title, fontsize=9)
    for axis, label in zip(rows[-1][-2:], ("patches", "cycles a patch"), strict=True):
        axis.set_xlabel(label, fontsize=8)
    return figure, statistics


def _drawn(masker: nn.Module, images: Tensor, grid: tuple[int, ...], draws: int) -> Tensor:
    """Return masks (draws, h, w): of three axes the middle slice, of one axis one row."""
    keys = sample_keys(0, 0, torch.arange(draws))
    like = images[:1].expand(draws, *images.shape[1:])
    return _flat(masker.eval()(like, grid, keys=keys).mask.view(draws, *grid), 1)


def _flat(values: Tensor, axis: int) -> Tensor:
    """Return values with two axes from `axis` on: of three the middle of the first, of one a row."""
    if values.ndim == axis + 1:
        return values.unsqueeze(axis)
    return values.select(axis, values.shape[axis] // 2) if values.ndim == axis + 3 else values


def _pictures(images: Tensor, rank: int) -> Tensor:
    """Return images, clips, series or ids of `rank` axes as uint8 (N, H, W, 3)."""
    images = images[:, None].float() if images.ndim == rank + 1 else images
    return displayable(_flat(images, 2), images)


def _overlay(image: Tensor, mask: Tensor) -> np.ndarray:
    cells = mask.float()[None, None]
    hidden = nn.functional.interpolate(cells, size=tuple(image.shape[:2]), mode="nearest")[0, 0].bool()
    return torch.where(hidden[..., None], hidden_colour(image), image).to(torch.uint8).numpy()


class ModelMasks(nn.Module):
    """The masks of a model's masker on some images, whose clues, such as a teacher's attention, are computed once.

    Args:
        model: a masked image model.
        inputs: its images, not normalised, (N, C, *size), ids, or a mapping of streams to them.
        layout: where their patches lie.
        stream: whose masks are returned; None for an encoder of one stream.
    """

    def __init__(self, model: Any, inputs: Any, layout: Any, stream: str | None = None) -> None:
        super().__init__()
        self.model, self.layout, self.stream = model, layout, stream
        named = {model.view: inputs} if getattr(model, "view", None) else inputs
        images = model.data_preprocessor({"inputs": named})["images"]
        self.images = images[model.view] if named is not inputs else images

    @torch.no_grad()
    def forward(self, images: Any, grid: Any, keys: Tensor) -> SimpleNamespace:
        """Return `mask`, bool (len(keys), L), 1 = removed; draw i is of image i modulo N.

        Args:
            images, grid: not read; those of the model are used.
            keys: int64, one for each draw.
        """
        number = len(next(iter(self.images.values())) if isinstance(self.images, Mapping) else self.images)
        batches = torch.arange(-(-len(keys) // number) * number).clamp(max=len(keys) - 1).split(number)  # whole ones
        clues = self.model.clues_of(self.images, self.layout)
        plans = [self.model.hide(self.images, {"key": keys[batch]}, clues) for batch in batches]
        masks = [(plan if self.stream is None else plan.only(self.stream)).mask for plan in plans]
        return SimpleNamespace(mask=torch.cat(masks)[: len(keys)])


def _draw_statistics(axes: list["Axes"], statistics: MaskStatistics) -> None:
    rate, clusters, power = axes
    shown = rate.imshow(statistics.rate, vmin=0, vmax=max(0.5, statistics.rate.max()), cmap="viridis")
    bar = rate.figure.colorbar(shown, ax=rate, shrink=0.8)
    rate.set(xticks=[], yticks=[])
    clusters.hist(
        statistics.clusters, bins=np.arange(0.5, max(10, statistics.clusters.max()) + 1).tolist(), density=True
    )
    clusters.set(yticks=[])
    power.axhline(1, color="0.6", linestyle="--")
    power.plot(statistics.frequency, statistics.power, ".-")
    power.set(ylim=(0, max(2.0, min(6.0, statistics.power.max() * 1.05))))
    for axis in (clusters, power, bar.ax):
        axis.tick_params(labelsize=7)
