"""Several views of a sample, or several streams of its channels: `inputs` become a mapping of tensors by name.

Random draws come from torch's default generator, which `ImageDataset` seeds with the key of the sample.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from maetool.data.codecs.encoded import EncodedImage, cropped, size_of
from maetool.errors import UsageError
from maetool.registry import TRANSFORMS

from .crops import RandomResizedCrop, SingleDrawCrop
from .flips import RandomHorizontalFlip
from .sample import name_of

Box = tuple[int, int, int, int]  # top, left, height, width


class Views(dict[str, Tensor]):
    """Name to view of one sample; transforms that follow in a pipeline change each by draws of its own."""


def in_each_view(transform: Callable[[Any], Any], inputs: Mapping[str, Tensor]) -> Views:
    """Return the views of a sample, each changed by a transform.

    Args:
        transform: changes one image.
        inputs: the views.

    Raises:
        UsageError: they are streams, which independent draws would part, or the transform makes several of each.
    """
    name = name_of(transform)
    if not isinstance(inputs, Views):
        raise UsageError(
            f"{name} follows a transform that makes the streams {', '.join(inputs)}, and would draw for each of them "
            "alone: put it before that transform in the pipeline."
        )
    changed = Views({view: transform(image) for view, image in inputs.items()})
    if not all(isinstance(image, Tensor) for image in changed.values()):
        raise UsageError(f"{name} makes several of each view: leave it out, or the transform before it.")
    return changed


class _CroppedViews:
    """Crops of one image, each resized to `size` and then flipped by a draw of its own."""

    takes = ("encoded",)
    gives = "views"  # without which the model of a config cannot be trained
    draws_by_torch_alone = True

    def __init__(self, size: int | Sequence[int], flip: float) -> None:
        self.size, self.flip = size, RandomHorizontalFlip(flip)

    def cut_all(self, image: Tensor | EncodedImage, boxes: Mapping[str, Box], size: tuple[int, int]) -> Views:
        if isinstance(image, EncodedImage):
            image.shared = True  # decoded once
        crops = {name: cropped(image, box, size) for name, box in boxes.items()}
        return Views({name: self.flip(crop) for name, crop in crops.items()})


@TRANSFORMS.register_module()
class TwoCrops(_CroppedViews):
    """Two crops of an image, drawn independently: the views "first" and "second".

    Args:
        size: height and width of both views in pixels, or one number for both.
        scale, ratio: see `RandomResizedCrop`.
        flip: probability that a view is mirrored left to right, each by itself.

    Raises:
        UsageError: see `RandomResizedCrop` and `RandomHorizontalFlip`.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.2, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
    ) -> None:
        super().__init__(size, flip)
        self.crop = RandomResizedCrop(size, scale, ratio)

    def __call__(self, image: Tensor | EncodedImage) -> Views:
        """Return `first` and `second`, each (C, *size), of an image (C, H, W), or (C, T, *size) of a clip."""
        boxes = {name: self.crop.draw_box(*size_of(image)) for name in ("first", "second")}
        return self.cut_all(image, boxes, self.crop.size)


@TRANSFORMS.register_module()
class GlobalToLocalViews(_CroppedViews):
    """A crop of an image, and a smaller crop of that crop: the views "global" and "local".

    Both boxes are drawn once, as by `SingleDrawCrop`; both are cut from the image itself, so that the local view is
    resized once. Source: CropMAE (Eymael et al., 2024), which shows the global view, and predicts the local one.

    Args:
        size: height and width of both views in pixels, or one number for both.
        global_scale: range of the share of the image's area that the global view has.
        local_scale: range of the share of the global view's area that the local view has.
        ratio: range of width divided by height, of both.
        flip: probability that a view is mirrored left to right, each by itself.

    Raises:
        UsageError: see `RandomResizedCrop` and `RandomHorizontalFlip`.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        global_scale: Sequence[float] = (0.1, 1.0),
        local_scale: Sequence[float] = (0.3, 0.6),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
    ) -> None:
        super().__init__(size, flip)
        self.outer, self.inner = (SingleDrawCrop(size, scale, ratio) for scale in (global_scale, local_scale))

    def __call__(self, image: Tensor | EncodedImage) -> Views:
        """Return `global` and `local`, each (C, *size), of an image (C, H, W), or (C, T, *size) of a clip."""
        top, left, height, width = self.outer.draw_box(*size_of(image))
        down, right, *sides = self.inner.draw_box(height, width)
        boxes = {"global": (top, left, height, width), "local": (top + down, left + right, *sides)}
        return self.cut_all(image, boxes, self.outer.size)


@TRANSFORMS.register_module()
class TwoFrames:
    """Two frames of a clip, a drawn number of frames apart: the views "past" and "future".

    Crops and flips come before it in the pipeline, so that both frames get the same. Source: SiamMAE (Gupta et al.,
    2023), which shows the past, and predicts the future from 4 to 48 frames later.

    Args:
        gap: smallest and largest number of frames from one to the other, both included, all equally likely.

    Raises:
        UsageError: no two whole numbers, the first at least 1 and at most the second.
    """

    gives = "views"
    draws_by_torch_alone = True
    debug_arguments: ClassVar = {"gap": (1, 2)}  # of the few frames that drawn clips have by default

    def __init__(self, gap: Sequence[int]) -> None:
        pair = tuple(gap) if isinstance(gap, Sequence) else ()
        if len(pair) != 2 or not all(type(frames) is int for frames in pair) or not 1 <= pair[0] <= pair[1]:
            raise UsageError(
                f"TwoFrames got gap={gap!r}: give a pair (least, most) of frames, at least 1, least first."
            )
        self.gap = pair

    def __call__(self, clip: Tensor) -> Views:
        """Return `past` and `future`, each (C, H, W), of a clip (C, T, H, W).

        Raises:
            UsageError: no clip, or one that is too short for the largest gap.
        """
        least, most = self.gap
        frames = clip.shape[1] if clip.ndim == 4 else 1
        if frames <= most:
            raise UsageError(
                f"TwoFrames takes frames of a clip that lie up to {most} apart, but got {frames} of the shape "
                f"{tuple(clip.shape)}: give a dataset of clips (channels, frames, height, width) with at least "
                f"{most + 1} frames, or a smaller gap."
            )
        apart = int(torch.randint(least, most + 1, ()))
        start = int(torch.randint(frames - apart, ()))
        return Views({"past": clip[:, start].contiguous(), "future": clip[:, start + apart].contiguous()})


@TRANSFORMS.register_module()
class SplitChannels:
    """Streams of the channels of an image: groups of bands, or pictures that lie on each other, as colour and depth.

    It is the last transform of a pipeline, so that crops and flips have hit all channels alike.

    Args:
        groups: name of a stream to the numbers of its channels, from 0 on. A channel may be in several or in none.

    Raises:
        UsageError: no groups, or channels that are no numbers from 0 on.
    """

    gives = "streams"
    splits_channels = True  # so that the encoder does not say how many channels a sample has
    made: ClassVar[type[dict[str, Tensor]]] = dict
    draws_by_torch_alone = True

    def __init__(self, groups: Mapping[str, Sequence[int]]) -> None:
        self.groups = {name: list(channels) for name, channels in groups.items()}
        numbers = [channel for channels in self.groups.values() for channel in channels]
        if not all(self.groups.values()) or not numbers or any(type(n) is not int or n < 0 for n in numbers):
            owner = type(self).__name__
            raise UsageError(f"{owner} got groups={groups!r}: give each name a list of channels, from 0 on.")

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Return the streams or views, each (its channels, *size).

        Raises:
            UsageError: the image has fewer channels.
        """
        most = max(max(channels) for channels in self.groups.values())
        if most >= len(image):
            raise UsageError(
                f"{type(self).__name__} takes channel {most}, counted from 0, but the image has {len(image)}: correct "
                "groups."
            )
        return self.made({name: image[channels] for name, channels in self.groups.items()})


@TRANSFORMS.register_module()
class SplitViews(SplitChannels):
    """Views of the channels of a sample: pictures of one scene that need not lie on each other, as of CroCo.

    Transforms that follow draw for each view alone. The arguments are those of `SplitChannels`.
    """

    gives = "views"
    made = Views
