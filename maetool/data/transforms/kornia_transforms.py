"""Transforms of kornia.augmentation, and those written in its style, in pipelines of maetool."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from maetool.data.codecs.encoded import EncodedImage, decoded
from maetool.errors import UsageError

from .adapter import Adapter, inside_of
from .sample import Sample, plain

# Warps whose matrix is the identity: Kornia leaves boxes where they were.
_WARPS = ("RandomElasticTransform", "RandomThinPlateSpline", "RandomFisheye")

_NORMALISE = ("Normalize", "Denormalize")  # whose results 8 bits cannot hold
_CENTRE = 0.5  # Kornia counts from the centre of the first pixel, and boxes from its corner


class KorniaTransform(Adapter):
    """A transform of kornia.augmentation.

    It gets a batch of one image, float32 (1, C, H, W), 0 to 1 for 8-bit images; maps and masks as one mask of several
    channels, by the nearest pixel; and boxes where there are no masks.

    Args:
        transform: the transform.

    Raises:
        UsageError: one that mixes the images of a batch, or normalises them.
    """

    def __init__(self, transform: Callable[..., Any]) -> None:
        super().__init__(transform)
        for each in _leaves(transform):
            if any(base.__module__.startswith("kornia.augmentation._2d.mix") for base in type(each).__mro__):
                raise UsageError(
                    f"{type(each).__name__} mixes the images of a batch, but a pipeline has one image: take "
                    "AugmentingPreprocessor, or leave it out."
                )
            if type(each).__name__ in _NORMALISE:
                raise UsageError(
                    f"Leave {type(each).__name__} out of the pipeline, because data_preprocessor normalises."
                )

    @cached_property
    def _sequence(self) -> Any:
        from kornia.augmentation import AugmentationSequential
        from kornia.constants import DataKey, Resample

        # Without align_corners, which Kornia 0.8 sets to None here: masks then moved otherwise than their image.
        extra_args = {DataKey.MASK: {"resample": Resample.NEAREST}}
        return AugmentationSequential(self.transform, data_keys=["input"], extra_args=extra_args)

    def image(self, image: Tensor | EncodedImage) -> Tensor:
        """Return the changed image, (C, H, W)."""
        image = decoded(image)
        with self.guarded():
            return self.checked(_as_before(self.transform(_scaled(image)), image), image)

    def move(self, sample: Sample) -> Sample:
        """Return the changed sample."""
        names = [name for name in ("semantic", "weight") if name in sample]
        planes = [inside_of(sample)[None], *(plain(sample[name])[None] for name in names)]
        planes += [plain(sample["masks"])] if "masks" in sample else []
        given = {"input": _scaled(plain(sample["inputs"])), "mask": torch.cat([p.float() for p in planes])[None]}
        if "boxes" in sample and "masks" not in sample and len(sample["boxes"]):
            self._check_boxes()
            given["bbox_xyxy"] = plain(sample["boxes"])[None] - _CENTRE
        with self.guarded():
            image, moved, *boxes = self._sequence(*given.values(), data_keys=list(given))
            inside, planes = moved[0, 0].round() == 1, moved[0, 1:].round()
            truth = dict(zip(names, planes[: len(names)], strict=True))
            if "boxes" in sample:
                truth |= {"labels": sample["labels"], "masks": planes[len(names) :]}
                truth["boxes"] = boxes[0].reshape(-1, 4) + _CENTRE if boxes else sample["boxes"]
            return self.joined(
                sample, self.checked(_as_before(image, sample["inputs"]), sample["inputs"]), truth, inside
            )

    def _check_boxes(self) -> None:
        for each in _leaves(self.transform):
            if type(each).__name__ in _WARPS:
                raise UsageError(
                    f"{type(each).__name__} of Kornia moves no boxes: take data with masks, or leave it out."
                )


def _leaves(transform: Any) -> Iterator[Any]:
    inside = [*transform] if hasattr(transform, "__iter__") else None
    if inside is None:
        yield transform
    for each in inside or ():
        yield from _leaves(each)


def _scaled(image: Tensor) -> Tensor:
    return (image.float() / 255 if image.dtype == torch.uint8 else image)[None]  # (1, C, H, W)


def _as_before(images: Any, before: Tensor) -> Any:
    if not isinstance(images, Tensor) or before.dtype != torch.uint8:
        return images[0] if isinstance(images, Tensor) else images
    return (images[0] * 255).round().clamp(0, 255).to(torch.uint8)
