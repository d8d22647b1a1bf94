"""Average precision of detections as COCO defines it, by faster-coco-eval."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval import mask as runs
from torch import Tensor

from maetool._deprecated import moved
from maetool.data.datasets.coco_masks import check_segmentation, encode_mask
from maetool.errors import UsageError

KINDS = {"box": "bbox", "mask": "segm"}
# Reported numbers, and their positions in `COCOeval_faster.stats`.
STATISTICS = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "recall": 8}


def to_coco(
    detections: Mapping[str, Tensor], image_id: int, category_ids: Sequence[int | None]
) -> list[dict[str, Any]]:
    """Return the detections of an image in COCO's results format.

    Args:
        detections: `boxes` (N, 4), `labels` (N,), `scores` (N,) and optionally `masks`, bool (N, H, W).
        image_id: id of the image.
        category_ids: id of each label; detections of labels without an id are left out.
    """
    entries, masks = [], detections.get("masks")
    rows = zip(detections["boxes"].tolist(), detections["labels"].tolist(), detections["scores"].tolist(), strict=True)
    for place, ((left, top, right, bottom), label, score) in enumerate(rows):
        if category_ids[label] is None:
            continue
        entry = {"image_id": image_id, "category_id": category_ids[label], "score": score}
        entry["bbox"] = [left, top, right - left, bottom - top]
        if masks is not None:
            entry["segmentation"] = encode_mask(masks[place].cpu())
        entries.append(entry)
    return entries


class CocoScores:
    """COCO's average precision and recall of detections.

    Args:
        truth: content of a COCO annotation file, the ground truth.
        detections: detections in COCO's format, see `to_coco`.
        kind: "box" or "mask": the overlap is that of boxes or of masks.
        image_ids: ids of the images to evaluate; all by default.

    Raises:
        UsageError: a mask of the ground truth cannot be decoded.

    Attributes:
        metrics: in percent, `{kind}_ap`, the mean over overlaps of 50 to 95 %, `_ap50`, `_ap75`, that of objects of
            fewer than 32 x 32 pixels (`_ap_small`), fewer than 96 x 96 (`_ap_medium`) and more (`_ap_large`), and
            `_recall`, the mean recall of 100 detections per image. Metrics without any true object are left out.
        classes: name of each class to its average precision in percent; nan for a class without objects.
    """

    def __init__(
        self,
        truth: Mapping[str, Any],
        detections: Iterable[Mapping[str, Any]],
        kind: str = "box",
        image_ids: Sequence[int] | None = None,
    ) -> None:
        # Copies, because the evaluator changes its input; numbered from 1, because it treats the id 0 as missing.
        chosen = None if image_ids is None else set(image_ids)
        counted = [each for each in truth["annotations"] if chosen is None or each["image_id"] in chosen]
        if kind == "mask":
            _check_masks(truth["images"], counted)
        known = _indexed(truth, [{**each, "id": number} for number, each in enumerate(counted, start=1)])
        evaluator = COCOeval_faster(known, _indexed(truth, _results(detections, kind)), KINDS[kind])
        if image_ids is not None:
            evaluator.params.imgIds = sorted(image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
        values = {f"{kind}_{name}": float(evaluator.stats[place]) * 100 for name, place in STATISTICS.items()}
        self.metrics = {name: value for name, value in values.items() if value >= 0}
        precision = evaluator.eval["precision"][:, :, :, 0, -1]  # (overlaps, recalls, classes): all areas, 100 found
        names = {entry["id"]: str(entry["name"]) for entry in truth["categories"]}
        ids = evaluator.params.catIds
        self.classes = {names[each]: _mean(precision[:, :, place]) for place, each in enumerate(ids)}


def _check_masks(images: Iterable[Mapping[str, Any]], annotations: Iterable[Mapping[str, Any]]) -> None:
    sizes = {entry["id"]: (entry["height"], entry["width"]) for entry in images}
    for each in annotations:
        try:
            check_segmentation(each.get("segmentation"), sizes[each["image_id"]])
        except ValueError as error:
            raise UsageError(f"Annotation {each['id']}: {error}; correct or remove it.") from error


def _indexed(truth: Mapping[str, Any], annotations: list[dict[str, Any]]) -> COCO:
    index = COCO()
    index.dataset = {"images": truth["images"], "categories": truth["categories"], "annotations": annotations}
    index.createIndex()
    return index


def _results(detections: Iterable[Mapping[str, Any]], kind: str) -> list[dict[str, Any]]:
    entries = []
    for number, each in enumerate(detections, start=1):
        width, height = each["bbox"][2:]
        area = float(runs.area(each["segmentation"])) if kind == "mask" else width * height
        entries.append({**each, "id": number, "iscrowd": 0, "area": area})
    return entries


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(known.mean()) * 100 if known.size else float("nan")


__getattr__ = moved(__name__, {"TOLD": "maetool.evaluation.coco.STATISTICS"}, "0.3.0")
