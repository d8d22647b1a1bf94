"""The object detector: an encoder, a pyramid, and two stages on it."""

import warnings
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image

from maetool.backbones import build_pyramid, feature_maps
from maetool.backbones.pyramids import strides_of_maps
from maetool.errors import UsageError
from maetool.heads.regions import proposal_network, region_heads
from maetool.ops.geometry import fill_up
from maetool.registry import ENCODERS, MODELS

from .base import TrainableModel
from .build import Part
from .downstream import leave_out
from .pairing import channels_of

# torchvision's names of the losses, and ours.
_PARTS = {
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "proposal_boxes",
    "loss_classifier": "classes",
    "loss_box_reg": "boxes",
    "loss_mask": "masks",
}


@MODELS.register_module()
class ObjectDetector(TrainableModel):
    """Finds objects with boxes (Faster R-CNN), and with `with_masks` their masks (Mask R-CNN), on a plain encoder.

    The last layer of the encoder becomes a pyramid of four maps; a fifth, every second place of the last, is for
    proposals alone. The stages are `maetool.heads.regions`. Source: Li et al., "Exploring plain vision transformer
    backbones for object detection" (2022).

    Args:
        encoder: config or module, as a rule a `WindowedTransformer`; its patches are square, a power of two.
        num_classes: K.
        with_masks: predict masks.
        channels: of the maps of the pyramid and of the heads.
        hidden_dim: width of the fully connected layer of the box head.
        anchor_scale: side of a square anchor over the stride of its map.
        anchors_sampled, regions_sampled: how many of an image the losses look at.
        num_proposals: boxes of an image that reach the second stage.
        score_threshold: detections of a lower score are left out.
        max_detections: of an image; `DetectionEvaluator` counts as many.
        data_preprocessor: config or module; see `maetool.data.ImagePreprocessor`. Only the runner needs it.
        num_found: the old name of `max_detections`, which wins where both are set; maetool 0.3.0 removes it.
        pyramid: config or module: four maps of `channels` each, such as a `StageFPN` on the stages of a hierarchical
            encoder; None, a `SimpleFeaturePyramid` on the last layer.

    Raises:
        UsageError: no class, patches that are not square or no power of two, an encoder whose tokens cover several, or
            a pyramid of other maps.
    """

    task = "detection"
    part_registries = {"encoder": ENCODERS, "data_preprocessor": MODELS, "pyramid": MODELS}
    debug_arguments: ClassVar = {
        **{"channels": 16, "hidden_dim": 32, "anchors_sampled": 16, "regions_sampled": 16, "num_proposals": 16}
    }

    def __init__(
        self,
        encoder: Part,
        num_classes: int,
        with_masks: bool = True,
        channels: int = 256,
        hidden_dim: int = 1024,
        anchor_scale: float = 8.0,
        anchors_sampled: int = 256,
        regions_sampled: int = 512,
        num_proposals: int = 1000,
        score_threshold: float = 0.05,
        max_detections: int = 100,
        data_preprocessor: Part | None = None,
        num_found: int | None = None,
        pyramid: Any = None,
    ) -> None:
        if type(num_classes) is not int or num_classes < 1:
            raise UsageError(f"num_classes is {num_classes!r}, but must be an integer of at least 1.")
        built: Any = ENCODERS.build(encoder)
        maps = build_pyramid(built, pyramid or {"type": "SimpleFeaturePyramid"}, out_channels=channels)
        _check_channels(maps, channels)
        strides = _strides(strides_of_maps(built, maps.layers))
        super().__init__(MODELS.build(data_preprocessor, default_args=channels_of(built)))
        self.num_classes, self.with_masks = num_classes, with_masks
        self.max_detections = max_detections if num_found is None else _renamed(num_found)
        self.coarsest = strides[-1]
        self.encoder, self.pyramid = built, maps
        leave_out(built)
        self.proposals = proposal_network(channels, strides, anchor_scale, anchors_sampled, num_proposals)
        self.regions = region_heads(
            *(channels, strides[:-1], num_classes, with_masks, hidden_dim, regions_sampled, score_threshold),
            self.max_detections,
        )

    def forward(
        self,
        images: Tensor,
        data_samples: dict[str, Any] | None = None,
        mode: Literal["loss", "predict", "tensor"] = "loss",
    ) -> Any:
        """Return the losses, the detections or the maps of a batch.

        Args:
            images: (B, C, H, W), normalised, of any size.
            data_samples: what else the batch holds, see `maetool.data.datasets.detection.collate_objects`: `content`
                (B, 2), rows and columns that are no padding (by default all), `original_size` (B, 2), that of the
                images before they were resized (by default `content`), and `targets`, a list of B dicts of `boxes`
                (N, 4), `labels` (N,) and `masks` (N, H, W).
            mode: "loss" gives a dict of scalars: `loss`, the sum of the others; "predict" a list of B dicts of `boxes`,
                float32 (N, 4), `labels`, int64 (N,), `scores` (N,), highest first, and `masks`, bool (N, H, W), in
                pixels of the original images; "tensor" the maps, finest first.

        Raises:
            UsageError: an unknown mode, no targets, or targets without masks where they are wanted.
        """
        samples = data_samples or {}
        padded = fill_up(images, (self.coarsest, self.coarsest))  # so that all maps fit onto each other
        maps = self._maps(padded)
        if mode == "tensor":
            return list(maps.values())
        if mode not in ("loss", "predict"):
            raise UsageError(f'mode is {mode!r}, but must be "loss", "predict" or "tensor".')
        targets = self._targets(samples) if mode == "loss" else None
        # torchvision's parts look at their own state; what is in them is the same in both.
        for part in (self.proposals, self.regions):
            part.train(mode == "loss")
        content = _sizes(samples.get("content"), images)
        listed = ImageList(padded, content)
        boxes, first = self.proposals(listed, maps, targets)
        found, second = self.regions(maps, boxes, content, targets)
        if mode == "loss":
            parts = {_PARTS[name]: value for name, value in {**first, **second}.items()}
            return {"loss": sum(parts.values()), **{name: value.detach() for name, value in parts.items()}}
        originals = _sizes(samples.get("original_size"), content)
        return [_in_original(*each) for each in zip(found, content, originals, strict=True)]

    def _maps(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.pyramid(feature_maps(self.encoder, images, self.pyramid.layers))  # each (B, C, h, w)
        maps.append(functional.max_pool2d(maps[-1], kernel_size=1, stride=2))
        return {str(level): each for level, each in enumerate(maps)}  # float32 under autocast too: layer norm

    def _targets(self, samples: dict[str, Any]) -> list[dict[str, Tensor]]:
        if "targets" not in samples:
            raise UsageError(
                "The batch has no objects: use a dataset of objects such as CocoDataset, and collate_objects."
            )
        targets = samples["targets"]
        if self.with_masks and not all("masks" in target for target in targets):
            raise UsageError(
                "The batch has boxes without masks, but the model has with_masks=True: set the dataset's "
                "with_masks=True, or model.with_masks=False."
            )
        # Label 0 is the background there.
        return [{**target, "labels": target["labels"] + 1} for target in targets]


def _renamed(num_found: int) -> int:
    sentence = "ObjectDetector's num_found is now max_detections; maetool 0.3.0 removes the old name."
    warnings.warn(sentence, DeprecationWarning, stacklevel=3)
    return num_found


def _check_channels(pyramid: Any, channels: int) -> None:
    if list(pyramid.channels) != [channels] * 4:
        raise UsageError(
            f"{type(pyramid).__name__} gives maps of {', '.join(map(str, pyramid.channels))} channels, but a detector "
            f"reads four of {channels} each: use SimpleFeaturePyramid, or StageFPN on stages."
        )


def _strides(strides: list[tuple[int, ...]]) -> list[int]:
    """Return the strides of the five maps in pixels, of those (rows, columns) of the four of the pyramid."""
    if any(rows != columns or rows & (rows - 1) for rows, columns in strides):
        raise UsageError(
            f"The encoder has patches of {strides[2]} pixels, but a detector needs square ones of 4, 8, 16 or another "
            "power of two: set patch_size to one of these."
        )
    return [rows for rows, _ in strides] + [2 * strides[-1][0]]


def _sizes(sizes: Tensor | None, other: Tensor | list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return a size (rows, columns) for each image: `sizes` (B, 2) if there are any, else those of images or a list."""
    if sizes is not None:
        return [(rows, columns) for rows, columns in sizes.tolist()]
    return [(other.shape[2], other.shape[3])] * len(other) if isinstance(other, Tensor) else other


def _in_original(
    detections: dict[str, Tensor], content: tuple[int, int], original: tuple[int, int]
) -> dict[str, Tensor]:
    """Return the detections of an image in pixels of the original, with masks of its size."""
    factors = [after / before for after, before in zip(original, content, strict=True)]
    boxes = detections["boxes"] * detections["boxes"].new_tensor([factors[1], factors[0]] * 2)
    result = {"boxes": boxes, "labels": detections["labels"] - 1, "scores": detections["scores"]}
    if "masks" in detections:
        result["masks"] = paste_masks_in_image(detections["masks"].float(), boxes, original)[:, 0] >= 0.5
    return result
