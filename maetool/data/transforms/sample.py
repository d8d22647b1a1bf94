"""What goes through a pipeline: an image alone, or a dict of torchvision's tv_tensors that move together.

An image alone is a tensor (C, H, W), and before the first crop perhaps a photograph that is not decoded. Where
something lies at the places of the image, the sample is a dict:

- `inputs`, `Image` (C, H, W), uint8 or float32;
- maps: `semantic`, `Mask` int64 (H, W), the class of each pixel, and `weight`, `Mask` bool (H, W), which pixels count;
- objects: `boxes`, `BoundingBoxes` float32 (N, 4) of the format XYXY, `labels`, int64 (N,), `masks`, `Mask` bool
  (N, H, W), left out where only boxes are known, and `content`, the rows and columns from the upper left corner that
  show the image; the rest is padding.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from maetool.data.codecs.encoded import EncodedImage, decoded
from maetool.data.objects import Objects, Picture
from maetool.errors import UsageError

Sample = dict[str, Any]
_IMAGES, _WORDS = (Tensor, EncodedImage), (tuple, list, set, frozenset)
# What a dataset may ask a transform to move beside the image: the word in `takes`, and the keys of a sample.
KINDS = {"maps": ("semantic", "weight"), "objects": ("boxes", "labels", "masks", "content")}
# What transforms said of themselves in 0.1, to the word of today.
_EARLIER = {"takes_encoded": "encoded", "takes_truth": "maps", "takes_objects": "objects"}


def name_of(transform: Any) -> str:
    """Return the name of a transform's class, or of the class of the one inside of an adapter."""
    inner = getattr(transform, "transform", None) if isinstance(transform, SampleTransform) else None
    return type(inner or transform).__name__


def taken_by(transform: Any) -> Collection[str]:
    """Return what a transform takes beside an image (C, H, W), as its attribute `takes` says: see `SampleTransform`."""
    words = getattr(transform, "takes", None)
    if isinstance(words, _WORDS):
        return words
    return tuple(word for name, word in _EARLIER.items() if getattr(transform, name, False) is True)


def as_sample(values: Mapping[str, Any]) -> Sample:
    """Return `values` as a sample whose tensors are tv_tensors; those that are already stay."""
    from torchvision import tv_tensors

    size = tuple(values["inputs"].shape[-2:])
    wrap: dict[str, Callable[[Tensor], Tensor]] = {
        "inputs": tv_tensors.Image,
        **dict.fromkeys(("semantic", "weight", "masks"), tv_tensors.Mask),
        "boxes": lambda boxes: tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
    }
    return {
        name: wrap[name](value) if name in wrap and isinstance(value, Tensor) else value
        for name, value in values.items()
    }


def plain(value: Any) -> Any:
    """Return `value`, a tv_tensor, as the ordinary tensor that it is, without a copy; anything else as it is."""
    return value.as_subclass(Tensor) if isinstance(value, Tensor) else value


def is_located(value: Any) -> bool:
    """Return whether a value of a sample lies at places of the image: whether it is a tv_tensor."""
    from torchvision.tv_tensors import TVTensor

    return isinstance(value, TVTensor)


def entries_of(objects: Objects, content: tuple[int, int]) -> Sample:
    """Return objects as the entries of a sample, with `content`, the (height, width) that is no padding."""
    masks = {} if objects.masks is None else {"masks": objects.masks}
    return {"boxes": objects.boxes, "labels": objects.labels, **masks, "content": content}


def objects_in(sample: Mapping[str, Any]) -> Objects:
    """Return the objects of a sample, as ordinary tensors."""
    return Objects(plain(sample["boxes"]), plain(sample["labels"]), plain(sample.get("masks")))


def with_each(sample: Sample, of_image: Callable[[Tensor], Tensor], of_truth: Callable[[Tensor], Tensor]) -> Sample:
    """Return a sample cut or resized: classes, masks and boxes by one function, image and weight by another.

    The weight is changed like a channel of the image, and then is where that has at least half of its value. Objects
    that nothing is left of go; without padding, all of the new image is content.

    Args:
        sample: the sample.
        of_image: from (C, H, W) to (C, h, w).
        of_truth: from a `Mask` or `BoundingBoxes` to one.
    """
    image = plain(sample["inputs"])
    moved = {**sample, "inputs": of_image(image)}
    if "weight" in sample:
        one = 255 if image.dtype == torch.uint8 else 1
        moved["weight"] = of_image(plain(sample["weight"])[None].to(image.dtype) * one)[0] > one / 2
    moved |= {name: of_truth(sample[name]) for name in ("semantic", "masks", "boxes") if name in sample}
    return in_sight(moved)


def in_sight(sample: Sample) -> Sample:
    """Return a sample without the objects that nothing is left of; all of its image is content."""
    if "boxes" not in sample:
        return sample
    size = tuple(sample["inputs"].shape[-2:])
    return {**sample, **entries_of(objects_in(sample).in_sight(size), size)}


class SampleTransform:
    """Base of the transforms that move an image and what lies on it; a subclass writes `move`, perhaps `image`.

    Attributes:
        takes: what it takes beside an image (C, H, W): "maps" and "objects" of a dict as the head of this module says,
            and "encoded", a photograph that is not decoded yet, an `EncodedImage`. Any callable may say so.
        draws_by_torch_alone: it draws from no other generator than torch's, so only that one is seeded.
    """

    takes: Collection[str] = ("maps", "objects")
    draws_by_torch_alone: ClassVar[bool] = False

    def __call__(self, sample: Any) -> Any:
        """Return the changed image, dict, or `Picture` of 0.1, as what is given.

        Raises:
            UsageError: the transform cannot change this sample.
        """
        if isinstance(sample, _IMAGES):
            return self.image(sample)
        if isinstance(sample, Picture):
            moved = self(as_sample({"inputs": sample.image, **entries_of(sample.objects, sample.content)}))
            return Picture(plain(moved["inputs"]), objects_in(moved), moved["content"])
        return as_sample(self.move(as_sample(sample)))

    def image(self, image: Tensor | EncodedImage) -> Tensor:
        """Return the changed image alone, (C, H, W)."""
        return self.move({"inputs": decoded(image)})["inputs"]

    def move(self, sample: Sample) -> Sample:
        """Return the changed sample, of which `inputs` alone need be there."""
        raise NotImplementedError(f"{type(self).__name__} must say how a sample changes: write `move`.")


class PhotoTransform(SampleTransform):
    """A transform that may take photographs before they are decoded, and draws by torch alone."""

    takes: Collection[str] = ("encoded", "maps", "objects")
    draws_by_torch_alone = True


class PictureTransform(SampleTransform):
    """A transform of 0.1, which goes from a `Picture` to a `Picture`."""

    takes = ("objects",)

    def __init__(self, transform: Callable[[Picture], Picture]) -> None:
        self.transform = transform

    def move(self, sample: Sample) -> Sample:
        """Return the changed sample."""
        picture = self.transform(Picture(plain(sample["inputs"]), objects_in(sample), sample["content"]))
        return {"inputs": picture.image, **entries_of(picture.objects, picture.content)}


def moved_with(transform: Callable[[Any], Any], sample: Sample) -> Sample:
    """Return a sample changed by a transform of a pipeline.

    To one of images alone the weight is one more channel, so it must be geometric.

    Raises:
        UsageError: it would leave anything else behind.
    """
    taken = taken_by(transform)
    left = [name for kind, names in KINDS.items() if kind not in taken for name in names if name in sample]
    if not left:
        return as_sample(transform(sample))
    if sample.keys() != {"inputs", "weight"}:
        raise UsageError(refusal(transform, left))
    image = plain(sample["inputs"])
    one = 255 if image.dtype == torch.uint8 else 1
    both = one_image(transform(torch.cat([image, sample["weight"][None].to(image.dtype) * one])), image.ndim)
    return as_sample({**sample, "inputs": both[:-1], "weight": both[-1] > one / 2})


def one_image(image: Any, ndim: int | None = None) -> Any:
    """Return what has a weight for each pixel, if it is one image, and of `ndim` axes where that is given.

    Raises:
        UsageError: it is not.
    """
    if isinstance(image, Mapping) or (ndim and image.ndim != ndim):
        raise UsageError(
            "The samples have a weight for each pixel, which does not go with several views or streams, or with codes: "
            "leave out the transform that makes them, or the weight, such as nodata."
        )
    return image


def refusal(transform: Any, left: Collection[str]) -> str:
    """Return the sentence on a transform that leaves the entries or kinds `left` where they were."""
    words = {"maps": "classes and weights of the pixels", "objects": "boxes and masks"}
    kinds = [kind for kind, names in KINDS.items() if kind in left or set(names) & set(left)]
    what = " and ".join(words[kind] for kind in kinds)
    return (
        f"{name_of(transform)} does not move {what} with the image: take another, of maetool, "
        "torchvision.transforms.v2, Albumentations, Kornia or MMCV, or say in `takes` what yours moves."
    )
