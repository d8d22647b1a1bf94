"""Transforms of MMCV, and those written in its style, in pipelines of maetool."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maetool._deprecated import moved
from maetool.data.codecs.encoded import EncodedImage, decoded
from maetool.errors import UsageError

from .adapter import Adapter, inside_of
from .sample import Sample, plain

_MAPS = ("semantic", "weight", "masks")
_FIRST = 1000  # numbers of cells begin here, above the values that transforms pad with


class MmcvTransform(Adapter):
    """A transform of MMCV, which changes a dict of NumPy arrays, as one of an image or of an image with its truth.

    It gets a dict of

    - `img`, (H, W, C), uint8 or float32 as the image is, its channels in the image's order: RGB for photographs, where
      MMCV's own loader gives BGR;
    - `img_shape` and `ori_shape`, (H, W);
    - with classes of pixels, `gt_seg_map`, (H, W), named in `seg_fields`;
    - with objects, `gt_bboxes`, float32 (N, 4), and `gt_bboxes_labels`, int64 (N,);
    - with objects or weights, a `gt_seg_map` of numbers that say what covers a pixel: what moves or resizes it, by the
      nearest pixel, moves them.

    Args:
        transform: the transform.
    """

    def image(self, image: Tensor | EncodedImage) -> Tensor:
        """Return the changed image, (C, H, W)."""
        image = decoded(image)
        with self.guarded():
            return self.checked(_channels_first(self._changed(_results(image))["img"]), image)

    def move(self, sample: Sample) -> Sample:
        """Return the changed sample."""
        if "semantic" in sample and not {"weight", "boxes"} & sample.keys():
            image, values, _ = self._with_map(sample, _seg_map(plain(sample["semantic"])), {})
            return self.joined(sample, image, {"semantic": values}, torch.ones(values.shape, dtype=torch.bool))
        numbers, first = _cells(sample)
        boxes = {"gt_bboxes": "boxes", "gt_bboxes_labels": "labels"} if "boxes" in sample else {}
        more = {key: plain(sample[name]).numpy().copy() for key, name in boxes.items()}
        image, cells, changed = self._with_map(sample, numbers, more)
        pixel = first[(cells - _FIRST).clamp(min=0)]  # one before the change that had what is there now
        maps = {name: plain(sample[name]).flatten(-2)[..., pixel] for name in _MAPS if name in sample}
        truth = {name: torch.from_numpy(np.asarray(changed[key])) for key, name in boxes.items()}
        labels = {"labels": sample["labels"]} if "masks" in sample else {}
        return self.joined(sample, image, {**maps, **truth, **labels}, cells >= _FIRST)

    def _with_map(
        self, sample: Sample, values: np.ndarray, more: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """Return the changed image and int64 map (H, W), and all that the transform gives."""
        image = plain(sample["inputs"])
        with self.guarded():
            changed = self._changed({**_results(image), "gt_seg_map": values, "seg_fields": ["gt_seg_map"], **more})
            moved = torch.from_numpy(changed["gt_seg_map"].astype(np.int64))
            return self.checked(_channels_first(changed["img"]), image), moved, changed

    def _changed(self, results: dict[str, Any]) -> dict[str, Any]:
        known = ", ".join(results)
        try:
            changed = self.transform(results)
        except KeyError as error:
            raise UsageError(
                f"{self.name} asks for {error}, but maetool hands over {known}: the dataset loads images and truth, so "
                "leave out transforms that load, and those for boxes or keypoints."
            ) from error
        if not isinstance(changed, Mapping) or not isinstance(changed.get("img"), np.ndarray):
            raise UsageError(
                f"{self.name} gives no array `img`: leave out transforms that drop samples, and those that make "
                "tensors, which the dataset does."
            )
        return dict(changed)


def _results(image: Tensor) -> dict[str, Any]:
    array = np.ascontiguousarray(image.permute(1, 2, 0).numpy())  # (H, W, C)
    return {"img": array, "img_shape": array.shape[:2], "ori_shape": array.shape[:2]}


def _seg_map(semantic: Tensor) -> np.ndarray:
    # OpenCV, with which MMCV resizes and flips, has no 64-bit integers.
    fits = int(semantic.min()) >= 0 and int(semantic.max()) <= 255
    return semantic.numpy().astype(np.uint8 if fits else np.int32)


def _cells(sample: Sample) -> tuple[np.ndarray, Tensor]:
    """Return a number for what covers each pixel, int32 (H, W), and for each number a pixel that has it, int64.

    Numbers count from `_FIRST`, which leaves 255 to what a transform pads; padding of the sample is 0.
    """
    inside = inside_of(sample)
    maps = {name: plain(sample[name]).numpy() for name in _MAPS if name in sample}
    # A byte for eight masks, one for the weight, eight for the class.
    packed = {
        name: np.packbits(values, axis=0).reshape(-1, inside.numel()).T
        for name, values in maps.items()
        if name == "masks"
    }
    packed |= {
        name: np.ascontiguousarray(values).reshape(-1, 1).view(np.uint8)
        for name, values in maps.items()
        if name != "masks"
    }
    rows = np.concatenate([np.zeros((inside.numel(), 1), np.uint8), *packed.values()], axis=1)
    rows = rows.view(np.dtype((np.void, rows.shape[1])))[:, 0]
    _, first, numbers = np.unique(rows, return_index=True, return_inverse=True)
    cells = np.where(inside.numpy(), numbers.reshape(inside.shape) + _FIRST, 0).astype(np.int32)
    return cells, torch.from_numpy(first)


def _channels_first(array: np.ndarray) -> Tensor:
    array = array if array.ndim == 3 else array[..., None]  # OpenCV drops the axis of a single channel
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


__getattr__ = moved(__name__, {"build_transform": "maetool.data.transforms.build.build_transform"}, "0.3.0")
