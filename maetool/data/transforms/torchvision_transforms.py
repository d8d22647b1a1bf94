"""Transforms of torchvision.transforms.v2, and those written in its style, in pipelines of maetool."""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import convert_bounding_box_format

from maetool.data.codecs.encoded import EncodedImage, decoded

from .adapter import Adapter, inside_of
from .sample import Sample, plain

_INSIDE = 1000  # a value that no transform fills with


class _Inside(tv_tensors.Mask):
    """Where a sample shows its image, int16 (1, H, W): `_INSIDE` there, anything else beside it.

    `SanitizeBoundingBoxes` selects among the masks of objects by an index, which leaves this one as it is.
    """

    def __getitem__(self, index: Any) -> Tensor:
        by_object = isinstance(index, Tensor) and index.dtype == torch.bool and index.ndim == 1
        return self if by_object else super().__getitem__(index)


class TorchvisionTransform(Adapter):
    """A transform of torchvision.transforms.v2.

    It gets the dict of tv_tensors that the head of `maetool.data.transforms.sample` describes. An image alone is a
    tensor (C, H, W), a clip (C, T, H, W) a `Video`, (T, C, H, W).
    """

    def image(self, image: Tensor | EncodedImage) -> Tensor:
        """Return the changed image, (C, H, W), or clip, (C, T, H, W)."""
        image = decoded(image)
        with self.guarded():
            if image.ndim != 4:
                return self.checked(self.transform(image), image)
            clip = tv_tensors.Video(image.transpose(0, 1))
            return self.checked(self.transform(clip), clip).transpose(0, 1).contiguous()

    def move(self, sample: Sample) -> Sample:
        """Return the changed sample."""
        inside = _Inside(inside_of(sample)[None].to(torch.int16) * _INSIDE)
        given = {name: value for name, value in sample.items() if name != "content"}
        with self.guarded():
            moved = self.transform({**given, "inside": inside})
            image = self.checked(moved["inputs"], sample["inputs"])
            truth = {name: moved[name] for name in given if name != "inputs"}
            if "boxes" in truth:
                truth["boxes"] = convert_bounding_box_format(truth["boxes"], new_format="XYXY")
            return self.joined(sample, image, truth, plain(moved["inside"])[0] == _INSIDE)
