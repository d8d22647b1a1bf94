"""Average precision of detections as COCO defines it, by faster-coco-eval."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval import mask as runs
from torch import Tensor

from maetool._deprecated import moved
from maetool.data.datasets.objects.masks import check_segmentation, encode_mask
from maetool.errors import UsageError

Id = int | str
KINDS = {"box": "bbox", "mask": "segm"}
# Reported numbers, and their positions in `COCOeval_faster.stats`.
STATISTICS = {"ap": 0, "ap50": 1, "ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5, "recall": 8}


def to_coco(detections: Mapping[str, Tensor], image_id: Id, category_ids: Sequence[Id | None]) -> list[dict[str, Any]]:
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
        most: how many detections of an image count, those of the highest scores; 100 in COCO.

    Raises:
        UsageError: a mask of the ground truth cannot be decoded.

    Attributes:
        metrics: in percent, `{kind}_ap`, the mean over overlaps of 50 to 95 %, `_ap50`, `_ap75`, that of objects of
            fewer than 32 x 32 pixels (`_ap_small`), fewer than 96 x 96 (`_ap_medium`) and more (`_ap_large`), and
            `_recall`, the mean recall of `most` detections per image. Metrics without any true object are left out.
        classes: name of each class to its average precision in percent; nan for a class without objects.
    """

    def __init__(
        self,
        truth: Mapping[str, Any],
        detections: Iterable[Mapping[str, Any]],
        kind: str = "box",
        image_ids: Sequence[Id] | None = None,
        most: int = 100,
    ) -> None:
        chosen = None if image_ids is None else set(image_ids)
        counted = [each for each in truth["annotations"] if chosen is None or each["image_id"] in chosen]
        if kind == "mask":
            _check_masks(truth["images"], counted)
        index = _Index(truth)
        known, detected = index.of(counted), index.of(_results(detections, kind))
        evaluator = COCOeval_faster(known, detected, KINDS[kind])
        evaluator.params.maxDets = [1, 10, most]
        if image_ids is not None:
            evaluator.params.imgIds = sorted(index.images[each] for each in image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
        values = {f"{kind}_{name}": float(evaluator.stats[place]) * 100 for name, place in STATISTICS.items()}
        self.metrics = {name: value for name, value in values.items() if value >= 0}
        precision = evaluator.eval["precision"][
            :, :, :, 0, -1
        ]  # (overlaps, recalls, classes): all areas, `most` detections
        names = {index.categories[entry["id"]]: str(entry["name"]) for entry in truth["categories"]}
        ids = evaluator.params.catIds
        self.classes = {names[each]: _mean(precision[:, :, place]) for place, each in enumerate(ids)}


def _check_masks(images: Iterable[Mapping[str, Any]], annotations: Iterable[Mapping[str, Any]]) -> None:
    sizes = {entry["id"]: (entry["height"], entry["width"]) for entry in images}
    for each in annotations:
        try:
            check_segmentation(each.get("segmentation"), sizes[each["image_id"]])
        except ValueError as error:
            raise UsageError(f"Annotation {each['id']}: {error}; correct or remove it.") from error


class _Index:
    """Numbers images, categories and annotations from 1, because the evaluator takes 0 for none and words for nothing.

    Args:
        truth: content of an annotation file.

    Attributes:
        images, categories: id to number.
    """

    def __init__(self, truth: Mapping[str, Any]) -> None:
        self.images, self.categories = (
            {entry["id"]: number for number, entry in enumerate(truth[section], start=1)}
            for section in ("images", "categories")
        )
        self._sections = {
            "images": [{**entry, "id": self.images[entry["id"]]} for entry in truth["images"]],
            "categories": [{**entry, "id": self.categories[entry["id"]]} for entry in truth["categories"]],
        }

    def of(self, annotations: Iterable[Mapping[str, Any]]) -> COCO:
        """Return the index of annotations, which are copied, because the evaluator changes them."""
        numbered = [
            {
                **{**each, "id": number, "image_id": self.images[each["image_id"]]},
                "category_id": self.categories[each["category_id"]],
            }
            for number, each in enumerate(annotations, start=1)
        ]
        index = COCO()
        index.dataset = {**self._sections, "annotations": numbered}
        index.createIndex()
        return index


def _results(detections: Iterable[Mapping[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    for each in detections:
        width, height = each["bbox"][2:]
        area = float(runs.area(each["segmentation"])) if kind == "mask" else width * height
        yield {**each, "iscrowd": 0, "area": area}


def _mean(precision: np.ndarray) -> float:
    known = precision[precision > -1]
    return float(known.mean()) * 100 if known.size else float("nan")


__getattr__ = moved(__name__, {"TOLD": "maetool.evaluation.coco.STATISTICS"}, "0.3.0")
