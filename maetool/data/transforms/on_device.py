"""Crops, flips and colours whose numbers the workers draw, and which the preprocessor computes on the device."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from maetool.data.codecs.encoded import EncodedImage
from maetool.data.codecs.encoded import size_of as size_in
from maetool.data.codecs.resize import resize
from maetool.errors import UsageError
from maetool.ops.resampling import recoloured, resampled
from maetool.registry import TRANSFORMS

from .adapter import Adapter
from .crops import RandomResizedCrop, size_of
from .flips import RandomHorizontalFlip
from .several import build_sized
from .views import Views

PIXELS = "pixels"
_FRAME, _PLACED, _ORDER, _FACTORS = "frame", "placed", "order", "factors"
_COLOURS = {"brightness_factor": 1.0, "contrast_factor": 1.0, "saturation_factor": 1.0, "hue_factor": 0.0}  # unchanged


@TRANSFORMS.register_module()
class ResizeOnDevice:
    """Let the device resize, mirror and recolour what the workers decode.

    The workers draw the same numbers as for the pipeline without it, so that the images are the same but for rounding:
    0.003 grey levels in the mean, 1 at most in a pixel, and 6 where colours are changed. The
    preprocessor, which must be maetool's, does the rest for a batch at once. It must be the only transform; it is for
    training. Images that are validated need all of their pixels, in every size, and are resized by the workers.

    Args:
        size: height and width of the output in pixels, or one number for both.
        pipeline: a `RandomResizedCrop` or another of its kind, and perhaps a `RandomHorizontalFlip` and torchvision's
            `ColorJitter`, in this order.
        canvas: height and width that each decoded part is filled up to, in pixels; the worker resizes
            longer ones. None, twice the size: only long parts are longer, because larger ones are decoded reduced.

    Raises:
        UsageError: other transforms, or a canvas below the size.
    """

    takes = ("encoded",)
    part_registries = {"pipeline": TRANSFORMS}
    draws_by_torch_alone = True

    def __init__(
        self, size: int | Sequence[int], pipeline: Sequence[Any], canvas: int | Sequence[int] | None = None
    ) -> None:
        self.size = size_of(size)
        built = [build_sized(each, self.size) for each in pipeline]
        self.crop: Any = _first(built, RandomResizedCrop)
        self.flip: Any = _first(built, RandomHorizontalFlip)
        self.jitter: Any = _jitter(built)
        if built or self.crop is None:
            raise UsageError(
                "ResizeOnDevice takes a RandomResizedCrop, and perhaps a RandomHorizontalFlip and torchvision's "
                f"ColorJitter, in this order, but its pipeline has {_names(pipeline)}: take the others out, or use the "
                "pipeline without ResizeOnDevice."
            )
        self.size = self.crop.size
        self.canvas = tuple(2 * side for side in self.size) if canvas is None else size_of(canvas)
        if any(large < side for large, side in zip(self.canvas, self.size, strict=True)):
            raise UsageError(f"ResizeOnDevice got canvas={canvas!r}, but must be at least its size, {self.size}.")

    def __call__(self, image: Tensor | EncodedImage) -> Views:
        """Return the part of an image that the crop needs, uint8 (C, *canvas), and the numbers of what is to be done.

        Raises:
            UsageError: pixels that are not of 8 bits, a clip, or channels that have no colours.
        """
        box = self.crop.draw_box(*size_in(image))
        mirrored = self.flip is not None and torch.rand(1).item() < self.flip.p
        part = _part(image, box, self.size)
        if part.dtype != torch.uint8 or part.ndim != 3:
            raise UsageError(
                f"ResizeOnDevice got {str(part.dtype).removeprefix('torch.')} of the shape {tuple(part.shape)}, but is "
                "for photographs of 8 bits: use its pipeline without it."
            )
        if self.jitter is not None and len(part) not in (1, 3):
            raise UsageError(
                f"ResizeOnDevice got an image of {len(part)} channels, but ColorJitter changes the colours of 1 or 3: "
                "take it out of the pipeline."
            )
        part = self._within_canvas(part)
        rows, columns = part.shape[1:]
        filled = pad(part, (0, self.canvas[1] - columns, 0, self.canvas[0] - rows))
        # The shape of the frame, which has no pixels, is the size of the output: it is known without reading a tensor.
        values = {PIXELS: filled, _PLACED: torch.tensor([rows, columns, mirrored]), _FRAME: torch.empty(0, *self.size)}
        return Views(values if self.jitter is None else {**values, **self._colours()})

    def _within_canvas(self, part: Tensor) -> Tensor:
        rows, columns = part.shape[1:]
        if rows > self.canvas[0]:  # both axes, because columns come before rows on the device
            return resize(part, self.size)
        return resize(part, (rows, self.size[1])) if columns > self.canvas[1] else part

    def _colours(self) -> dict[str, Tensor]:
        drawn = self.jitter.make_params([])
        names = _COLOURS if self.jitter.hue is not None else list(_COLOURS)[:3]
        factors = [_COLOURS[name] if drawn[name] is None else float(drawn[name]) for name in names]
        return {_ORDER: torch.as_tensor(drawn["fn_idx"]), _FACTORS: torch.tensor(factors)}


def is_for_device(inputs: Any) -> bool:
    """Return whether `inputs` of a batch are what `ResizeOnDevice` made."""
    return isinstance(inputs, Mapping) and _PLACED in inputs and _FRAME in inputs


def finish_on_device(inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the images (B, C, H, W), float32 whole numbers from 0 to 255, of a batch that `ResizeOnDevice` made.

    Args:
        inputs: where they are to be computed.
    """
    rows_columns, mirrored = inputs[_PLACED].split([2, 1], dim=1)
    images = resampled(inputs[PIXELS], rows_columns, mirrored[:, 0] > 0, tuple(inputs[_FRAME].shape[2:]))
    return recoloured(images, inputs[_ORDER], inputs[_FACTORS]) if _ORDER in inputs else images


def _first(built: list[Any], kind: type) -> Any:
    return built.pop(0) if built and isinstance(built[0], kind) else None


def _jitter(built: list[Any]) -> Any:
    """Take torchvision's `ColorJitter` from the front of a list."""
    inner = built[0].transform if built and isinstance(built[0], Adapter) else None
    if type(inner).__name__ != "ColorJitter":
        return None
    built.pop(0)
    return inner


def _part(image: Tensor | EncodedImage, box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    if isinstance(image, EncodedImage):
        return image.part(box, size)
    top, left, height, width = box
    return image[..., top : top + height, left : left + width]


def _names(pipeline: Sequence[Any]) -> str:
    return ", ".join(str(each.get("type")) if isinstance(each, Mapping) else type(each).__name__ for each in pipeline)
