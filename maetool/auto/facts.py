"""What the rules read of a user's images: numbers, sizes and values, and how alike neighbouring patches are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from maetool.data.codecs.images import UnreadableImage
from maetool.data.datasets.subsets import evenly_spaced
from maetool.errors import UsageError
from maetool.inspection.report import Report
from maetool.registry import DATASETS

_SAMPLE = 200  # images whose pixels are compared
_GRID = 16  # patches along each axis for the statistics of neighbours
_FLAT = 0.02  # of the deviation of all pixels: a patch that varies less holds nothing to see


@dataclass(frozen=True)
class Facts:
    """What is known of the images of a training.

    Attributes:
        images: their number.
        side: the shorter side of the median image, in pixels.
        aspect: width by height of the median image.
        in_chans: channels.
        eight_bit: whether all values are 8-bit.
        mean, std: of each channel, in the units of the stored values.
        between: share of the variance of the grey values that lies between the means of pictures, 0 to 1.
        contrast: the contrast of the picture at the 90th percentile by that at the 10th, at least 1.
        flat: share of the patches without any variation, 0 to 1.
        redundancy: share of the variance of a patch's mean that the mean of its four neighbours explains, 0 to 1.
        fine: share of the spectral power of wavelengths below four pixels, 0 to 1.
        copies: share of the pictures that are there more than once, 0 to 1.
        labelled: images with labels in the training part.
        classes: number of classes; 0 without classes.
    """

    images: int
    side: int
    aspect: float
    in_chans: int
    eight_bit: bool
    mean: list[float]
    std: list[float]
    between: float
    contrast: float
    flat: float
    redundancy: float
    fine: float
    copies: float
    labelled: int = 0
    classes: int = 0


def facts_of(report: Report, place: dict[str, Any], labelled: int = 0, classes: int = 0) -> Facts:
    """Return the facts of the images that `maetool check` looked at.

    Args:
        report: of `inspect_data`.
        place: the dataset of the images to train on.
        labelled, classes: see `Facts`.

    Raises:
        UsageError: none of its images can be read.
    """
    pixels = report.pixels
    sides = sorted(min(size) for size in pixels.sizes)
    aspects = sorted(width / height for height, width in pixels.sizes)
    std = [deviation or 1.0 for deviation in pixels.std]
    dataset = DATASETS.build({**place, "in_chans": pixels.in_chans, "pipeline": [], "max_broken": 1.0})
    repeated = sum(len(each) - 1 for each in report.copies.sets)
    return Facts(
        images=len(dataset),
        side=sides[len(sides) // 2],
        aspect=aspects[len(aspects) // 2],
        in_chans=pixels.in_chans,
        eight_bit=pixels.eight_bit,
        mean=pixels.mean,
        std=std,
        copies=repeated / max(1, len(dataset)),
        labelled=labelled,
        classes=classes,
        **_of_pixels(_sample(dataset), pixels.mean, std),
    )


def _sample(dataset: Any) -> list[Tensor]:
    """Return up to 200 images (C, H, W), evenly spaced.

    Raises:
        UsageError: none can be read.
    """
    images = []
    for index in evenly_spaced(len(dataset), min(_SAMPLE, len(dataset))).tolist():
        try:
            images.append(dataset[index]["inputs"].float())
        except UnreadableImage:
            continue
    if not images:
        raise UsageError("No image of the training part can be read: `maetool check` lists why.")
    return images


def _of_pixels(images: Sequence[Tensor], mean: Sequence[float], std: Sequence[float]) -> dict[str, float]:
    """Return the statistics of grey values of images (C, H, W), each of any size."""
    centre, scale = (torch.tensor(values)[:, None, None] for values in (mean, std))
    grey = [((image - centre) / scale).nan_to_num().mean(dim=0) for image in images]
    means = np.array([float(each.mean()) for each in grey])
    deviations = np.array([float(each.std(correction=0)) for each in grey])
    total = means.var() + (deviations**2).mean() + 1e-12
    low, high = np.percentile(deviations, (10, 90))
    patches = [_patches(each) for each in grey]
    return {
        "between": float(means.var() / total),
        "contrast": float(max(1.0, high / max(low, 1e-3 * total**0.5))),
        "flat": float(np.mean([(std < _FLAT * total**0.5).float().mean() for _, std in patches])),
        "redundancy": _redundancy([mean for mean, _ in patches]),
        "fine": float(np.mean([_fine(each) for each in grey])),
    }


def _patches(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means and deviations of about 16 x 16 patches of an image (H, W), of at least 2 x 2 pixels each."""
    height, width = (max(1, side // max(2, side // _GRID)) for side in grey.shape)
    size = (height, width)
    mean = functional.adaptive_avg_pool2d(grey[None], size)[0]
    square = functional.adaptive_avg_pool2d(grey[None] ** 2, size)[0]
    return mean, (square - mean**2).clamp(min=0).sqrt()


def _redundancy(means: Sequence[Tensor]) -> float:
    """Return the squared correlation of a patch's mean with that of its four neighbours, of pictures of any grid."""
    own, around = [], []
    for mean in means:
        if min(mean.shape) > 2:
            own.append(mean[1:-1, 1:-1].flatten())
            neighbours = mean[:-2, 1:-1] + mean[2:, 1:-1] + mean[1:-1, :-2] + mean[1:-1, 2:]
            around.append(neighbours.flatten() / 4)
    if not own:
        return 0.0
    pair = torch.stack([torch.cat(own), torch.cat(around)])
    return float(torch.corrcoef(pair)[0, 1].nan_to_num() ** 2)


def _fine(grey: Tensor) -> float:
    """Return the share of the power of an image (H, W) that has a wavelength below four pixels."""
    power = torch.fft.fft2(grey - grey.mean()).abs() ** 2
    axes = [torch.fft.fftfreq(side).abs() for side in grey.shape]
    fine = torch.maximum(axes[0][:, None], axes[1][None]) > 0.25
    return float(power[fine].sum() / power.sum().clamp(min=1e-12))
