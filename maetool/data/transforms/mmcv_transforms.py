"""Transforms of MMCV, and those written in its style, in pipelines of maetool."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.registry import DefaultScope
from torch import Tensor

from maetool.errors import UsageError
from maetool.ops.geometry import by
from maetool.registry import TRANSFORMS, check_part

_FIRST = 1000  # numbers of masks begin here, above the values that transforms pad with


def build_transform(transform: Any) -> Callable[[Any], Any]:
    """Build a transform of a pipeline; one of MMCV comes as an `MmcvTransform`.

    Args:
        transform: a config or a callable.
    """
    if not isinstance(transform, Mapping):
        return MmcvTransform(transform) if _is_mmcvs(type(transform)) else transform
    if not _is_mmcvs(check_part(transform, TRANSFORMS)):
        return TRANSFORMS.build(transform)
    # In a run, MMEngine would look up the parts that MMCV names inside, such as `Resize`, among maetool's.
    with DefaultScope.overwrite_default_scope("mmengine"):
        return MmcvTransform(TRANSFORMS.build(transform))


def _is_mmcvs(kind: Any) -> bool:
    # Asked by name, so that mmcv is not imported where no pipeline names it.
    bases = getattr(kind, "__mro__", ())
    return any((base.__module__, base.__name__) == ("mmcv.transforms.base", "BaseTransform") for base in bases)


class MmcvTransform:
    """A transform of MMCV, which changes a dict of NumPy arrays, as one of an image or of an image with its classes.

    It gets a dict of

    - `img`, (H, W, C), uint8 or float32 as the image is, its channels in the image's order: RGB for photographs, where
      MMCV's own loader gives BGR;
    - `img_shape` and `ori_shape`, (H, W);
    - with classes of pixels, `gt_seg_map`, (H, W), named in `seg_fields`;
    - with objects, `gt_bboxes`, float32 (N, 4), `gt_bboxes_labels`, int64 (N,), and a `gt_seg_map` of numbers that say
      which masks cover a pixel: what moves or resizes it, by the nearest pixel, moves the masks.

    Python's, NumPy's and torch's generators are seeded from the sample's key, so that what it draws is repeatable.

    Args:
        transform: the transform.
    """

    takes_truth = takes_objects = True

    def __init__(self, transform: Callable[[dict[str, Any]], Any]) -> None:
        self.transform, self.name = transform, type(transform).__name__

    def __call__(self, sample: Any) -> Any:
        """Return the changed sample of the same kind.

        Args:
            sample: an image (C, H, W); a dict of `inputs`, (C, H, W), and `semantic`, (H, W); or a `Picture`.

        Raises:
            UsageError: the transform needs more than it gets, drops the sample, or changes the number of channels, the
                type, or the image without its classes.
        """
        if isinstance(sample, Tensor):
            return self._image(self._changed(_results(sample))["img"], sample)
        if not isinstance(sample, Mapping):
            return self._picture(sample)
        image, semantic, _ = self._with_map(sample["inputs"], _seg_map(sample["semantic"]), {})
        return {**sample, "inputs": image, "semantic": semantic}

    def _picture(self, picture: Any) -> Any:
        objects = picture.objects
        cells, covers = _cells(picture)
        boxes = {"gt_bboxes": objects.boxes.numpy().copy(), "gt_bboxes_labels": objects.labels.numpy()}
        image, cells, changed = self._with_map(picture.image, cells, boxes)
        inside = cells >= _FIRST
        if objects.masks is None:
            boxes, labels = (torch.from_numpy(np.asarray(changed[name])) for name in boxes)
            objects = replace(objects, boxes=boxes.float().reshape(-1, 4), labels=labels)
        else:
            objects = replace(objects, masks=covers[:, (cells - _FIRST).clamp(min=0)] & inside)  # (N, H, W)
        content = tuple(int(max(inside.any(dim=axis).nonzero(), default=-1)) + 1 for axis in (1, 0))
        return replace(picture, image=image, objects=objects.in_sight(tuple(image.shape[1:])), content=content)

    def _with_map(
        self, image: Tensor, values: np.ndarray, more: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """Return the changed image and int64 map (H, W), and all that the transform gives."""
        changed = self._changed({**_results(image), "gt_seg_map": values, "seg_fields": ["gt_seg_map"], **more})
        image, values = self._image(changed["img"], image), changed["gt_seg_map"]
        if image.shape[1:] != values.shape:
            raise UsageError(
                f"{self.name} gives an image of {by(image.shape[1:])} pixels and truth of {by(values.shape)}: take one "
                "that changes gt_seg_map with the image."
            )
        return image, torch.from_numpy(values.astype(np.int64)), changed

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

    def _image(self, array: np.ndarray, before: Tensor) -> Tensor:
        array = array if array.ndim == 3 else array[..., None]  # OpenCV drops the axis of a single channel
        image = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
        image = image.to(before.dtype) if before.is_floating_point() else image  # NumPy likes to give float64
        if image.dtype != before.dtype or len(image) != len(before):
            raise UsageError(
                f"{self.name} turned {len(before)} channels of {_type(before)} into {len(image)} of {_type(image)}, "
                "but both must stay: leave out Normalize, because data_preprocessor normalises, and let "
                "RandomGrayscale keep the channels (keep_channels=True)."
            )
        return image


def _results(image: Tensor) -> dict[str, Any]:
    array = np.ascontiguousarray(image.permute(1, 2, 0).numpy())  # (H, W, C)
    return {"img": array, "img_shape": array.shape[:2], "ori_shape": array.shape[:2]}


def _seg_map(semantic: Tensor) -> np.ndarray:
    # OpenCV, with which MMCV resizes and flips, has no 64-bit integers.
    fits = int(semantic.min()) >= 0 and int(semantic.max()) <= 255
    return semantic.numpy().astype(np.uint8 if fits else np.int32)


def _cells(picture: Any) -> tuple[np.ndarray, Tensor]:
    """Return a number for the masks that cover each pixel, int32 (H, W), and those masks, bool (N, numbers).

    Numbers count from `_FIRST`, which leaves 255 to what a transform pads; padding of the picture is 0.
    """
    masks, size = picture.objects.masks, picture.image.shape[1:]
    if masks is None or not len(masks):
        numbers, covers = np.zeros(size, np.int32), torch.zeros(0, 1, dtype=torch.bool)
    else:
        packed = np.packbits(masks.flatten(1).numpy(), axis=0).T  # (H * W, bytes), a bit for each mask
        rows = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1])))[:, 0]
        _, first, numbers = np.unique(rows, return_index=True, return_inverse=True)
        covers = masks.flatten(1)[:, torch.from_numpy(first)]
    cells = np.zeros(size, np.int32)
    rows, columns = picture.content
    cells[:rows, :columns] = numbers.reshape(size)[:rows, :columns] + _FIRST
    return cells, covers


def _type(image: Tensor) -> str:
    return str(image.dtype).removeprefix("torch.")
