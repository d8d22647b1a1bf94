"""Transforms of Albumentations, and those written in its style, in pipelines of maetool."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maetool.data.codecs.encoded import EncodedImage, decoded

from .adapter import Adapter, inside_of
from .sample import Sample, plain


class AlbumentationsTransform(Adapter):
    """A transform of Albumentations.

    It gets `image`, (H, W, C), uint8 or float32 as the image is, RGB for photographs; with classes of pixels `mask`,
    (H, W); with objects `masks`, (N, H, W), and `bboxes`, in pixels. Its own generators are seeded from the sample's
    key.

    Args:
        transform: the transform.
    """

    def __init__(self, transform: Callable[..., Any]) -> None:
        super().__init__(transform)
        targets = [set(each.available_keys) for each in _leaves(transform) if not _changes_colours(each)]
        self.takes = tuple(
            kind for kind, key in (("maps", "mask"), ("objects", "bboxes")) if all(key in keys for keys in targets)
        )

    @cached_property
    def _alone(self) -> Any:
        return self._composed()

    @cached_property
    def _with_boxes(self) -> Any:
        import albumentations

        return self._composed(bbox_params=albumentations.BboxParams("pascal_voc", label_fields=["places"], clip=True))

    def _composed(self, **options: Any) -> Any:
        import albumentations

        masks = {"inside": "mask", "weight": "mask"}
        return albumentations.Compose([self.transform], additional_targets=masks, **options)

    def image(self, image: Tensor | EncodedImage) -> Tensor:
        """Return the changed image, (C, H, W)."""
        image = decoded(image)
        with self.guarded():
            return self.checked(_channels_first(self._changed(self._alone, image=_array(image))), image)

    def move(self, sample: Sample) -> Sample:
        """Return the changed sample."""
        given: dict[str, Any] = {
            "image": _array(sample["inputs"]),
            "inside": inside_of(sample).numpy().astype(np.uint8),
        }
        if "semantic" in sample:
            given["mask"] = _small(plain(sample["semantic"]))
        if "weight" in sample:
            given["weight"] = plain(sample["weight"]).numpy().astype(np.uint8)
        has_masks = "masks" in sample and len(sample["masks"])
        if has_masks:
            given["masks"] = plain(sample["masks"]).numpy().astype(np.uint8)
        if "boxes" in sample:
            given |= {"bboxes": plain(sample["boxes"]).numpy().copy(), "places": np.arange(len(sample["boxes"]))}
        with self.guarded():
            moved = self._changed(self._with_boxes if "boxes" in sample else self._alone, **given)
            image = self.checked(_channels_first(moved), sample["inputs"])
            names = {"semantic": "mask", "weight": "weight", **({"masks": "masks"} if has_masks else {})}
            truth = {
                name: torch.from_numpy(np.ascontiguousarray(moved[key])) for name, key in names.items() if key in given
            }
            inside = torch.from_numpy(np.ascontiguousarray(moved["inside"])) == 1
            return self.joined(sample, image, truth | _boxes(sample, moved), inside)

    @staticmethod
    def _changed(compose: Any, **given: Any) -> dict[str, Any]:
        if hasattr(compose, "set_random_seed"):  # older ones draw from Python's generator
            compose.set_random_seed(int(torch.randint(2**31, ())))
        return compose(**given)


def _boxes(sample: Sample, moved: dict[str, Any]) -> Sample:
    if "boxes" not in sample:
        return {}
    labels = plain(sample["labels"])
    if "masks" in sample:  # which Albumentations keeps all, and boxes are those of the masks
        rest = {} if len(labels) else {"masks": torch.zeros(0, *moved["inside"].shape)}
        return {"labels": labels, **rest}
    places = torch.from_numpy(np.asarray(moved["places"], dtype=np.int64).reshape(-1))
    boxes = torch.from_numpy(np.asarray(moved["bboxes"], dtype=np.float32).reshape(-1, 4))
    return {"boxes": boxes, "labels": labels[places]}


def _leaves(transform: Any) -> Iterator[Any]:
    inside = getattr(transform, "transforms", None)
    if inside is None:
        yield transform
    for each in inside or ():
        yield from _leaves(each)


def _changes_colours(transform: Any) -> bool:
    bases = ((base.__module__, base.__name__) for base in type(transform).__mro__)
    return ("albumentations.core.transforms_interface", "ImageOnlyTransform") in bases


def _array(image: Tensor) -> np.ndarray:
    return np.ascontiguousarray(plain(image).permute(1, 2, 0).numpy())  # (H, W, C)


def _channels_first(moved: dict[str, Any]) -> Any:
    array = moved["image"]
    if not isinstance(array, np.ndarray):
        return array
    array = array if array.ndim == 3 else array[..., None]
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def _small(semantic: Tensor) -> np.ndarray:
    # OpenCV turns and resizes no 64-bit integers, and in float32 all classes are exact.
    fits = int(semantic.min()) >= 0 and int(semantic.max()) <= 255
    return semantic.numpy().astype(np.uint8 if fits else np.float32)
