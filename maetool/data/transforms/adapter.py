"""What the adapters of other libraries' transforms share: what comes back is checked, and what is uncovered marked."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from maetool.data.codecs.images import UnreadableImage
from maetool.data.objects import Objects
from maetool.errors import UsageError
from maetool.ops.geometry import format_size

from .sample import Sample, SampleTransform, entries_of, objects_in, plain


class Adapter(SampleTransform):
    """A transform of another library in a pipeline.

    Python's, NumPy's and torch's generators are seeded from the sample's key, so that what it draws is repeatable. What
    it uncovers beside the image, such as the corners of one that is turned, is no class, has no weight and no mask.

    Args:
        transform: the transform.

    Attributes:
        outside: class of what is uncovered.
    """

    outside = 255

    def __init__(self, transform: Callable[..., Any]) -> None:
        self.transform, self.name = transform, type(transform).__name__

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what the library raises into a sentence.

        Raises:
            UsageError: instead of whatever the library raises.
        """
        try:
            yield
        except (UsageError, UnreadableImage, MemoryError):
            raise
        except Exception as error:  # whatever another library, or a transform written for it, raises
            reason = " ".join(str(error).split()) or "no reason given"
            raise UsageError(
                f"{self.name} cannot change this sample ({type(error).__name__}: {reason[:300]}): use one that knows "
                "what the dataset holds, and leave out those that load, mix images, or make tensors."
            ) from error

    def checked(self, image: Any, before: Tensor) -> Tensor:
        """Return a changed image as an ordinary tensor.

        Raises:
            UsageError: it is none, or has other channels or another type than before.
        """
        if not isinstance(image, Tensor):
            raise UsageError(
                f"{self.name} gives a {type(image).__name__} and no image: leave out transforms that drop samples, "
                "make several images of one, or convert them, which the dataset does."
            )
        image = plain(image)
        image = image.to(before.dtype) if before.is_floating_point() else image  # NumPy likes to give float64
        if (image.dtype, image.ndim, len(image)) != (before.dtype, before.ndim, len(before)):
            raise UsageError(
                f"{self.name} turned {len(before)} channels of {_type(before)} into {len(image)} of {_type(image)}, "
                "but both must stay: leave out Normalize, because data_preprocessor normalises, and let "
                "RandomGrayscale keep the channels (keep_channels=True)."
            )
        return image

    def joined(self, before: Sample, image: Tensor, truth: Mapping[str, Any], inside: Tensor) -> Sample:
        """Return the sample of what a library changed.

        Args:
            before: the sample as it was.
            image: the changed image, see `checked`.
            truth: those of `semantic`, `weight`, `masks`, `boxes` and `labels` that were changed.
            inside: bool (H, W), where the changed image shows the one before.

        Raises:
            UsageError: truth of another size than the image.
        """
        size = tuple(image.shape[-2:])
        shapes = {tuple(value.shape[-2:]) for name, value in truth.items() if name in ("semantic", "weight", "masks")}
        if odd := ({*shapes, tuple(inside.shape)} - {size}):
            raise UsageError(
                f"{self.name} gives an image of {format_size(size)} pixels and truth of {format_size(odd.pop())}: take "
                "one that changes classes, masks and boxes with the image."
            )
        moved = {**before, "inputs": image}
        if "semantic" in before:
            moved["semantic"] = torch.where(inside, plain(truth["semantic"]).long(), self.outside)
        if "weight" in before:
            moved["weight"] = plain(truth["weight"]).bool() & inside
        if "boxes" in before:
            moved |= entries_of(self._objects(before, truth, inside), _content(inside))
        return moved

    def _objects(self, before: Sample, truth: Mapping[str, Any], inside: Tensor) -> Objects:
        labels, size = plain(truth["labels"]).long(), (inside.shape[0], inside.shape[1])
        if "masks" not in before:
            boxes = plain(truth["boxes"]).float().reshape(-1, 4)
            return Objects(boxes, labels, None).in_sight(size)
        masks, old = plain(truth["masks"]).bool() & inside, objects_in(before)
        if old.masks is not None and torch.equal(masks, old.masks):  # nothing moved, so the boxes stay as they are
            return old
        return Objects(torch.zeros(len(masks), 4), labels, masks).in_sight(size)  # boxes are those of the masks


def _content(inside: Tensor) -> tuple[int, int]:
    """Return rows and columns from the upper left corner that hold all that is inside."""
    rows, columns = (inside.any(dim=axis).nonzero() for axis in (1, 0))
    return int(max(rows, default=-1)) + 1, int(max(columns, default=-1)) + 1


def inside_of(sample: Sample) -> Tensor:
    """Return where a sample shows its image and no padding, bool (H, W)."""
    inside = torch.ones(tuple(sample["inputs"].shape[-2:]), dtype=torch.bool)
    if "content" in sample:
        rows, columns = sample["content"]
        inside[rows:], inside[:, columns:] = False, False
    return inside


def _type(image: Tensor) -> str:
    return str(image.dtype).removeprefix("torch.")
