"""The segmentor: an encoder, a pyramid and a head that classifies every pixel."""

import logging
import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from maetool.backbones import build_pyramid, feature_maps
from maetool.errors import UsageError
from maetool.heads.segmentation import resize_map
from maetool.ops.geometry import count_steps, to_size
from maetool.registry import ENCODERS, MODELS
from maetool.structures.logged import only_logged
from maetool.structures.over_processes import total_of

from .build import Part
from .downstream import DownstreamModel
from .pairing import channels_of
from .views import look, slide, stripes

_logger = logging.getLogger("maetool")
_MUCH = 2.0  # GB of logits
_NO_PIXEL = 1e-6  # below any sum of weights, for a batch in which no pixel counts


@MODELS.register_module()
class Segmentor(DownstreamModel):
    """Tells the class of every pixel; nothing is masked.

    UPerNet is `pyramid=LayerPyramid, decode_head=UPerHead, auxiliary_head=FCNHead`; a linear probe
    `decode_head=LinearMapHead, frozen=True`. Images may have any size.

    Args:
        encoder: config or module; its `img_size` is that of the crops of training, and of the windows.
        num_classes: K.
        decode_head: config or module: maps to logits, such as `UPerHead`.
        pyramid: config or module: layers or stages of the encoder to maps; None, the last tokens as one map.
        auxiliary_head: a second head whose loss is added in training, such as `FCNHead`; None for none.
        auxiliary_weight: of that loss.
        ignore_index: class of pixels that count nothing.
        class_weight: how much a pixel of each class counts in the losses; None, all alike.
        frozen: train only what is on top of the encoder, whose parameters and buffers never change.
        inference: "slide", the mean over windows of the encoder's size, to which an encoder with `one_size` has smaller
            images filled up; "whole", the image at once.
        stride: pixels from one window to the next; None, two thirds of a window.
        scales, flip: sizes, as ratios, and mirror images that a prediction looks at.
        data_preprocessor: config or module; see `maetool.data.ImagePreprocessor`. Only the runner needs it.

    Raises:
        UsageError: an argument out of range, or an encoder whose tokens cover several patches.
    """

    task = "segmentation"
    part_registries = {"encoder": ENCODERS, "data_preprocessor": MODELS, "pyramid": MODELS}
    part_registries |= {"decode_head": MODELS, "auxiliary_head": MODELS}

    def __init__(
        self,
        encoder: Part,
        num_classes: int,
        decode_head: Part,
        pyramid: Any = None,
        auxiliary_head: Any = None,
        auxiliary_weight: float = 0.4,
        ignore_index: int = 255,
        class_weight: Sequence[float] | None = None,
        frozen: bool = False,
        inference: Literal["slide", "whole"] = "slide",
        stride: int | Sequence[int] | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        data_preprocessor: Part | None = None,
    ) -> None:
        _check(num_classes, inference, scales)
        built: Any = ENCODERS.build(encoder)
        super().__init__(built, frozen, MODELS.build(data_preprocessor, default_args=channels_of(built)))
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.pyramid = build_pyramid(built, pyramid or {"type": "LastMap"})
        facts = {"channels": self.pyramid.channels, "num_classes": num_classes}
        self.decode_head = MODELS.build(decode_head, default_args=facts)
        self.auxiliary_head = MODELS.build(auxiliary_head, default_args=facts)
        self.auxiliary_weight = auxiliary_weight
        self.register_buffer("class_weight", _weights(class_weight, num_classes), persistent=False)
        self.inference, self.scales, self.flip = inference, tuple(scales), flip
        self.stride = to_size(stride or [max(1, side * 2 // 3) for side in built.img_size], "stride")

    def forward(
        self,
        images: Tensor,
        data_samples: dict[str, Any] | None = None,
        mode: Literal["loss", "predict", "tensor"] = "loss",
    ) -> Any:
        """Return the losses, the logits or the maps of a batch.

        Args:
            images: (B, C, H, W), normalised.
            data_samples: what else the batch holds: `semantic`, int64 (B, H, W), classes or `ignore_index`.
            mode: "loss" gives a dict of scalars: `loss`; `auxiliary`, the part of it that the auxiliary head has;
                `constant_predictor`, the loss of giving every class the same probability; `accuracy` in percent of the
                pixels that count. "predict" gives logits (B, K, H, W), float32, as `inference`, `scales` and `flip`
                say; "tensor" the maps of the pyramid.

        Raises:
            UsageError: an unknown mode, no `semantic` or one of another size, or images that do not fit the encoder.
        """
        if mode == "tensor":
            return self._maps(images)
        if mode == "predict":
            return look(self._slide if self.inference == "slide" else self._logits, images, self.scales, self.flip)
        if mode != "loss":
            raise UsageError(f'mode is {mode!r}, but must be "loss", "predict" or "tensor".')
        return self._losses(images, data_samples or {})

    def _maps(self, images: Tensor) -> list[Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            maps = feature_maps(self.encoder, images, self.pyramid.layers)
        return self.pyramid(maps)

    def predict_classes(self, images: Tensor) -> Tensor:
        """Return the class of the largest logit of mode "predict" at each pixel, int64 (B, H, W).

        Windows are taken in stripes, without the logits of all pixels at once, unless several views are averaged.

        Args:
            images: (B, C, H, W), normalised.
        """
        size = images.shape[2:]
        in_stripes = self.inference == "slide" and self.scales == (1.0,) and not self.flip
        if not in_stripes:
            _tell_bytes(len(images), self.num_classes, tuple(size))
            return self(images, mode="predict").argmax(dim=1)
        windows = stripes(self._logits, self._filled_up(images), self.encoder.img_size, self.stride)
        classes = [stripe.argmax(dim=1) for _, stripe in windows]
        return torch.cat(classes, dim=1)[..., : size[0], : size[1]]

    def _slide(self, images: Tensor) -> Tensor:
        size = images.shape[2:]
        logits = slide(self._logits, self._filled_up(images), self.encoder.img_size, self.stride)
        return logits[..., : size[0], : size[1]]

    def _filled_up(self, images: Tensor) -> Tensor:
        if not getattr(self.encoder, "one_size", False):
            return images
        sides = zip(self.encoder.img_size, images.shape[2:], strict=True)
        below, right = (max(0, side - length) for side, length in sides)
        return functional.pad(images, (0, right, 0, below))  # with zeros, the mean of normalised images

    def _logits(self, images: Tensor) -> Tensor:
        return self._at_pixels(self.decode_head(self._maps(images)), images.shape[2:])

    def _at_pixels(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        """Return logits (B, K, h, w) at the pixels (H, W) of an image, which the patches may reach beyond."""
        padded = [count_steps(side, step) * step for side, step in zip(size, self.encoder.patch_size, strict=True)]
        return resize_map(logits.float(), padded)[..., : size[0], : size[1]]

    def _losses(self, images: Tensor, samples: dict[str, Any]) -> dict[str, Tensor]:
        target: Any = samples.get("semantic")
        self._check_target(target, images)
        maps = self._maps(images)
        logits = self._at_pixels(self.decode_head(maps), images.shape[2:])  # (B, K, H, W)
        loss, counts = self._cross_entropy(logits, target), target != self.ignore_index
        losses = {}
        if self.auxiliary_head is not None:
            more = self._at_pixels(self.auxiliary_head(maps), images.shape[2:])
            losses["auxiliary"] = self.auxiliary_weight * self._cross_entropy(more, target)
            loss = loss + losses["auxiliary"]
        total_weight = 1 + (self.auxiliary_weight if losses else 0)
        logged = only_logged(
            lambda: {
                "constant_predictor": logits.new_full((), total_weight * math.log(self.num_classes)),
                "accuracy": ((logits.argmax(dim=1) == target) & counts).sum() / counts.sum().clamp(min=1) * 100,
            }
        )
        return {"loss": loss, **losses, **logged}

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        weight, counts = self.class_weight, target != self.ignore_index
        total = functional.cross_entropy(logits, target, weight, ignore_index=self.ignore_index, reduction="sum")
        if weight is not None:
            counts = weight[target.where(counts, 0)] * counts
        return total / total_of(counts).clamp(min=_NO_PIXEL)

    def _check_target(self, target: Tensor | None, images: Tensor) -> None:
        expected = (len(images), *images.shape[2:])
        if target is None or target.shape != expected:
            actual = "none" if target is None else str(tuple(target.shape))
            raise UsageError(
                f"The class maps of the batch have the shape {actual}, but {expected} is expected: train on a dataset "
                "of segmentation, such as SegmentationDataset, whose transforms change image and class map alike."
            )


@cache  # once for each size
def _tell_bytes(images: int, num_classes: int, size: tuple[int, int]) -> None:
    """Log what the logits of large images need, before they are computed."""
    gigabytes = 4 * images * num_classes * size[0] * size[1] / 1e9
    if gigabytes > _MUCH:
        _logger.warning(
            f"The logits of {images} images of {size[0]:,} x {size[1]:,} pixels and {num_classes} classes need "
            f"{gigabytes:.1f} GB, two to three times that for several views; with inference='slide', scales=[1.0] and "
            "flip=False, only a stripe of them is held at a time."
        )


def _weights(class_weight: Sequence[float] | None, num_classes: int) -> Tensor | None:
    if class_weight is None:
        return None
    if len(class_weight) != num_classes or min(class_weight) <= 0:
        raise UsageError(
            f"class_weight is {list(class_weight)}, but must be {num_classes} numbers above 0, one for each class, or "
            "None: add --cfg-options model.class_weight=None."
        )
    return torch.tensor(class_weight, dtype=torch.float32)


def _check(num_classes: int, inference: str, scales: Sequence[float]) -> None:
    if type(num_classes) is not int or num_classes < 2:
        raise UsageError(f"num_classes is {num_classes!r}, but must be an integer of at least 2.")
    if inference not in ("slide", "whole"):
        raise UsageError(f'inference is {inference!r}, but must be "slide" or "whole".')
    if not scales or min(scales) <= 0:
        raise UsageError(f"scales is {scales!r}, but must be a list of ratios above 0, such as [0.5, 1.0, 1.5].")
