"""Proposals and regions: the two stages of a detector, from torchvision's detection parts with the heads of ViTDet.

Source of the heads and numbers: Li et al., "Exploring plain vision transformer backbones for object detection" (2022),
appendix, and `projects/ViTDet` of mmdetection.
"""

from collections.abc import Sequence
from math import log2

from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from maetool.layers import LayerNorm2d

RATIOS = (0.5, 1.0, 2.0)
# A region of 224 pixels, the side of ImageNet's crops, is read from the map of stride 16 (Lin et al., 2017, eq. 1).
_CANONICAL_SIDE, _CANONICAL_LEVEL = 224, 4


class ProposalHead(RPNHead):
    """Two convolutions, and what they say about each anchor in float32: boxes in bfloat16 would be pixels off."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the logits and box deltas of the A anchors at each place, in float32.

        Args:
            x: maps (B, C, h, w), one for each level.

        Returns:
            The logits (B, A, h, w) and the deltas (B, 4A, h, w) of each level.
        """
        logits, deltas = super().forward(x)
        return [each.float() for each in logits], [each.float() for each in deltas]


class BoxPredictor(FastRCNNPredictor):
    """Logits of the classes and of the background, and box deltas of each, in float32."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class logits (N, K + 1) and box deltas (N, 4K + 4) of regions `x` (N, D), in float32."""
        logits, deltas = super().forward(x)
        return logits.float(), deltas.float()


def proposal_network(
    channels: int, strides: Sequence[int], anchor_scale: float, num_sampled: int, num_kept: int
) -> RegionProposalNetwork:
    """Return the first stage: boxes that may hold an object.

    Args:
        channels: of the maps.
        strides: of the maps, the one that is added for proposals included.
        anchor_scale: side of a square anchor over the stride of its map.
        num_sampled: anchors of an image that the loss looks at.
        num_kept: proposals of an image; twice as many of each map are compared in training.
    """
    sizes = tuple((anchor_scale * stride,) for stride in strides)
    anchors = AnchorGenerator(sizes, (RATIOS,) * len(sizes))
    head = ProposalHead(channels, anchors.num_anchors_per_location()[0], conv_depth=2)
    return RegionProposalNetwork(
        anchors,
        head,
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=num_sampled,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 2 * num_kept, "testing": num_kept},
        post_nms_top_n={"training": num_kept, "testing": num_kept},
        nms_thresh=0.7,
    )


def region_heads(
    channels: int,
    strides: Sequence[int],
    num_classes: int,
    with_masks: bool,
    hidden_dim: int,
    num_sampled: int,
    score_threshold: float,
    max_detections: int,
) -> RoIHeads:
    """Return the second stage: what the proposals hold.

    The box head has four convolutions and one fully connected layer, the mask head four convolutions, all with layer
    norm.

    Args:
        channels: of the maps.
        strides: of the maps that regions are read from.
        num_classes: K.
        with_masks: predict masks of 28 x 28 cells too.
        hidden_dim: width of the fully connected layer.
        num_sampled: proposals of an image that the loss looks at, a quarter of them on objects at most.
        score_threshold: detections of a lower score are left out.
        max_detections: detections of an image at most.
    """
    masks = {}
    if with_masks:
        masks = {
            "mask_roi_pool": _region_pool(strides, 14),
            "mask_head": MaskRCNNHeads(channels, [channels] * 4, dilation=1, norm_layer=LayerNorm2d),
            "mask_predictor": MaskRCNNPredictor(channels, channels, num_classes + 1),
        }
    return RoIHeads(
        _region_pool(strides, 7),
        FastRCNNConvFCHead((channels, 7, 7), [channels] * 4, [hidden_dim], norm_layer=LayerNorm2d),
        BoxPredictor(hidden_dim, num_classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=num_sampled,
        positive_fraction=0.25,
        bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
        score_thresh=score_threshold,
        nms_thresh=0.5,
        detections_per_img=max_detections,
        **masks,
    )


def _region_pool(strides: Sequence[int], side: int) -> MultiScaleRoIAlign:
    pool = MultiScaleRoIAlign([str(level) for level in range(len(strides))], side, sampling_ratio=0)
    # Stated, because torchvision would guess them from the first batch, whose images may be mostly padding.
    pool.scales = [1 / stride for stride in strides]
    finest, coarsest = int(log2(strides[0])), int(log2(strides[-1]))
    pool.map_levels = LevelMapper(finest, coarsest, _CANONICAL_SIDE, _CANONICAL_LEVEL)
    return pool
