"""A detector as one function of tensors, for graphs: any batch, height and width.

torchvision's stages loop over images and look at the values of tensors in between, which no graph can hold. Here the
networks are the same, and boxes of all images are selected at once.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign, clip_boxes_to_image, nms, roi_align

_SMALLEST_PROPOSAL, _SMALLEST_OBJECT = 1e-3, 1e-2  # pixels, torchvision's
_MOST = 2**31
_ROW = 64  # groups of boxes that are laid out side by side


class _Boxes(NamedTuple):
    """N boxes of all images, their scores, and the numbers of their images and of their groups: levels or classes."""

    boxes: Tensor  # (N, 4)
    scores: Tensor  # (N,)
    image: Tensor  # (N,)
    group: Tensor  # (N,)

    def at(self, ids: Tensor) -> "_Boxes":
        return _Boxes(*(value[ids] for value in self))


class Detections(nn.Module):
    """The objects that an `ObjectDetector` predicts, of all images in one list.

    Args:
        model: an `ObjectDetector`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def half(self) -> "Detections":
        """Let the encoder and the pyramid compute in float16; the two stages stay in float32, as in training."""
        self.model.encoder.half(), self.model.pyramid.half()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the objects in normalised images (B, C, H, W), higher scores first.

        Returns:
            `boxes` (N, 4), left, top, right and bottom in pixels; `labels`, int64 (N,); `scores` (N,), 0 to 1;
            `image`, int64 (N,), which image of the batch; and of a model with masks `masks` (N, 28, 28), at each cell
            of the box the probability that it belongs to the object.
        """
        size, batch = (images.shape[2], images.shape[3]), images.shape[0]
        maps = [each.float() for each in self.model(images, mode="tensor")]
        proposals = _proposals(self.model.proposals, maps, self.model.coarsest, size, batch)
        objects = _objects(self.model.regions, maps[:-1], proposals, size, batch)
        results = (objects.boxes, objects.group, objects.scores, objects.image)
        return (*results, _masks(self.model.regions, maps[:-1], objects)) if self.model.with_masks else results


def _proposals(network: Any, maps: list[Tensor], coarsest: int, size: tuple[int, int], batch: int) -> _Boxes:
    """Return the boxes of the first stage, over maps (B, C, h, w) of strides that double up to `coarsest`."""
    levels = []
    outputs = zip(*network.head(maps), network.anchor_generator.cell_anchors, strict=True)
    for level, (logits, deltas, cells) in enumerate(outputs):
        scores = logits.permute(0, 2, 3, 1).flatten(1)  # (B, h * w * A)
        codes = deltas.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)  # (B, h * w * A, 4)
        anchors = _anchors(cells, logits.shape[2:], coarsest >> (len(maps) - 1 - level))
        best, ids = scores.topk(torch.sym_min(network.pre_nms_top_n(), scores.shape[1]), dim=1)  # (B, k)
        codes = codes.gather(1, ids[..., None].expand(-1, -1, 4))
        boxes = network.box_coder.decode_single(codes.flatten(0, 1), anchors[ids].flatten(0, 1))
        image = torch.arange(batch, device=ids.device)[:, None].expand_as(ids)
        levels.append(_Boxes(boxes, best.sigmoid().flatten(), image.flatten(), torch.full_like(ids, level).flatten()))
    boxes = _Boxes(*(torch.cat(values) for values in zip(*levels, strict=True)))
    return _apart(boxes, size, batch, network.nms_thresh, network.post_nms_top_n(), _SMALLEST_PROPOSAL)


def _anchors(cells: Tensor, grid: Sequence[int], stride: int) -> Tensor:
    """Return the anchors (h * w * A, 4) at the places of a map, of those at its first place (A, 4)."""
    y, x = (torch.arange(side, dtype=cells.dtype, device=cells.device) * stride for side in grid)
    y, x = y[:, None].expand(*grid), x[None].expand(*grid)
    return (torch.stack([x, y, x, y], dim=-1).flatten(0, 1)[:, None] + cells).flatten(0, 1)


def _objects(heads: Any, maps: list[Tensor], proposals: _Boxes, size: tuple[int, int], batch: int) -> _Boxes:
    """Return the objects of the second stage, `group` being their classes."""
    regions = _pooled(heads.box_roi_pool, maps, proposals)
    logits, deltas = heads.box_predictor(heads.box_head(regions))
    boxes = heads.box_coder.decode_single(deltas, proposals.boxes).unflatten(1, (-1, 4))  # (N, 1 + K, 4)
    scores = logits.softmax(dim=1)[:, 1:]  # without the background
    region, label = (scores > heads.score_thresh).nonzero(as_tuple=True)
    candidates = _Boxes(boxes[region, label + 1], scores[region, label], proposals.image[region], label)
    return _apart(candidates, size, batch, heads.nms_thresh, heads.detections_per_img, _SMALLEST_OBJECT)


def _masks(heads: Any, maps: list[Tensor], objects: _Boxes) -> Tensor:
    logits = heads.mask_predictor(heads.mask_head(_pooled(heads.mask_roi_pool, maps, objects)))
    ids = (objects.group + 1)[:, None, None, None].expand(-1, 1, *logits.shape[2:])
    return logits.gather(1, ids)[:, 0].sigmoid()


def _apart(boxes: _Boxes, size: tuple[int, int], batch: int, iou: float, most: int, smallest: float) -> _Boxes:
    """Return the boxes, clipped to the images, that no better one of the same image and group covers: `most` an image.

    Images and groups are laid out without overlap, in rows, as coordinates far from zero would be less exact.
    """
    boxes = boxes._replace(boxes=clip_boxes_to_image(boxes.boxes, size))
    sides = boxes.boxes[:, 2:] - boxes.boxes[:, :2]
    boxes = boxes.at((sides >= smallest).all(dim=1).nonzero()[:, 0])
    rows = boxes.image + boxes.group // _ROW * batch
    place = torch.stack([boxes.group % _ROW * (size[1] + 1), rows * (size[0] + 1)], dim=1)
    kept = nms(boxes.boxes + place.to(boxes.boxes.dtype).repeat(1, 2), boxes.scores, iou)
    torch._check(kept.shape[0] <= _MOST)  # `torch.export` knows no bound, and ONNX has no numbers of more than 64 bits
    boxes = boxes.at(kept)
    mine = boxes.image[:, None] == torch.arange(batch, device=boxes.image.device)  # (N, B)
    rank = mine.cumsum(dim=0).gather(1, boxes.image[:, None])[:, 0]  # from 1, by score
    return boxes.at((rank <= most).nonzero()[:, 0])


def _pooled(pool: MultiScaleRoIAlign, maps: list[Tensor], boxes: _Boxes) -> Tensor:
    """Return the maps (N, C, side, side) in the boxes, each from the level that fits its size."""
    assert pool.map_levels is not None and pool.scales is not None, "`region_heads` sets both"
    level = pool.map_levels([boxes.boxes])
    total = None
    for number, (features, scale) in enumerate(zip(maps, pool.scales, strict=True)):
        here = level == number
        # Boxes of other levels shrink to nothing, which costs little and keeps all shapes.
        corners = torch.where(here[:, None], boxes.boxes, 0.0)
        regions = torch.cat([boxes.image[:, None].to(corners.dtype), corners], dim=1)
        values = roi_align(features, regions, pool.output_size, scale, pool.sampling_ratio)
        values = torch.where(here[:, None, None, None], values, 0.0)
        total = values if total is None else total + values
    assert total is not None, "there is a map"
    return total


def difference_of_detections(outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return how far detections are from others: at most so far are 95 of 100 on either side from the nearest one.

    Rounding reorders those of nearly equal scores and decides whether nearly equal boxes cover one another, so neither
    the order nor every single one can be compared. A distance is the largest of those in score, in the box, as a
    fraction of the largest coordinate, and of the masks' mean; it is 1 where there is no other of the same image and
    label.

    Args:
        outputs, expected: each what `Detections` returns.
    """
    most = max((float(each[0].abs().max()) for each in (outputs, expected) if len(each[0])), default=1.0)
    numbers = [
        torch.cat([each[0] / most, each[2][:, None], *(mask.flatten(1).mean(1, keepdim=True) for mask in each[4:])], 1)
        for each in (outputs, expected)
    ]
    distances = (numbers[0][:, None] - numbers[1]).abs().amax(dim=2)  # (N, N')
    same = (outputs[1][:, None] == expected[1]) & (outputs[3][:, None] == expected[3])
    distances = torch.where(same, distances, 1.0)
    if 0 in distances.shape:
        return float(sum(distances.shape) > 0)
    return max(float(distances.amin(dim=axis).quantile(0.95)) for axis in (0, 1))
