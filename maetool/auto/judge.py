"""Which of several trainings is better: by labels of the training part alone, or without any."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from maetool.data.codecs.images import UnreadableImage
from maetool.data.datasets.labels import labels_of
from maetool.data.datasets.subsets import Subset, evenly_spaced
from maetool.data.keys import SampleKey
from maetool.evaluation import token_features
from maetool.evaluation.few_labels import HEADLINES, ClassTask, NumberTask, judge, rare_classes
from maetool.evaluation.spread import feature_deviation, rankme
from maetool.pretrained.extract import build_for, extract
from maetool.registry import DATASETS

_PAIRS = 256  # images of which two crops are compared
_LABELLED = 1000  # images with labels that a candidate is judged on
_CROP = (0.3, 0.8)  # of the area
_LEARNED = 0.995  # of a constant prediction's loss: a masked loss above it has learned nothing
_TELLING = 200  # steps from which that loss tells
_COLLAPSED = 2.0  # effective rank below which features tell nothing apart


@dataclass(frozen=True)
class Verdict:
    """What a short training is worth.

    Attributes:
        score: the higher, the better; comparable between candidates on the same images.
        judged_by: what the score is.
        loss: the masked loss by that of a constant prediction; below 1 something was learned.
        rank: effective rank of the features, see `rankme`.
        spread: their deviation, see `feature_deviation`; 0 if all are alike.
        stability: share of crops in percent whose nearest neighbour is the other crop of the same image.
    """

    score: float
    judged_by: str
    loss: float
    rank: float
    spread: float
    stability: float

    def failed(self, steps: int) -> str:
        """Return why the training cannot be used, or "".

        Args:
            steps: that it took; a loss above a constant's tells nothing of fewer than 200, in which plain pixels get
                below it, while normalised ones and edges are still on their way.
        """
        if not isfinite(self.loss):
            return "its loss is not finite"
        if steps >= _TELLING and self.loss >= _LEARNED:
            return f"its loss is {self.loss:.3f} of a constant prediction's, so it learned nothing"
        if self.rank < _COLLAPSED:
            return f"its features have collapsed to {self.rank:.1f} dimensions"
        return ""


class Judge:
    """Judges models on the images of the training part; what is held back has no say.

    Args:
        place: dataset arguments of the images to train on.
        labelled: those of labelled images of the training part; None judges without labels.
    """

    def __init__(self, place: Mapping[str, Any], labelled: Mapping[str, Any] | None) -> None:
        self.place, self.labelled = place, labelled

    def __call__(self, model: Any, loss: float) -> Verdict:
        """Return what a model is worth.

        Args:
            model: a trained `MaskedImageModel`.
            loss: its masked loss, by that of a constant prediction.
        """
        model = model.eval()
        first, second = (_features(model, crops) for crops in self._crops(model))
        both = torch.cat([first, second])
        centred = both - both.mean(dim=0)
        rank, spread = rankme(centred), feature_deviation(centred)
        stability = _nearest(first, second)
        if self.labelled is None:
            return Verdict(stability, "crops of the same image, found again", loss, rank, spread, stability)
        name, score = self._by_labels(model)
        return Verdict(score, f"{name} on a half of the labelled training images", loss, rank, spread, stability)

    def _crops(self, model: Any) -> tuple[Tensor, Tensor]:
        """Return two crops of each of up to 256 images, of stored values (N, C, H, W)."""
        size = model.encoder.img_size
        pipeline = [{"type": "RandomResizedCrop", "size": size, "scale": _CROP}]
        chans = model.encoder.in_chans
        dataset = DATASETS.build({**self.place, "in_chans": chans, "pipeline": pipeline, "max_broken": 1.0})
        pairs = []
        for index in evenly_spaced(len(dataset), min(_PAIRS, len(dataset))).tolist():
            try:
                pairs.append([dataset[SampleKey(index, 2 * index + each)]["inputs"] for each in (0, 1)])
            except UnreadableImage:
                continue
        first, second = zip(*pairs, strict=True)
        return torch.stack(first), torch.stack(second)

    def _by_labels(self, model: Any) -> tuple[str, float]:
        """Return the name and the value of the metric of a linear probe, fitted on a half of the labelled images."""
        dataset = build_for(model, {**(self.labelled or {}), "limit": _LABELLED})
        with torch.no_grad():
            outputs = extract(model, dataset, {"features": token_features}, "labelled images", workers=0)
        numbers = bool(getattr(dataset, "targets", None))
        rare = [] if numbers else rare_classes(outputs["label"])
        task: Any = NumberTask() if numbers else ClassTask(labels_of(dataset).classes, rare=rare)
        task.predictors = {"linear probe": task.predictors["linear probe"]}
        number = len(outputs["index"])
        strata = torch.zeros(number, dtype=torch.int64) if numbers else outputs["label"]
        asked = torch.ones(number, dtype=torch.bool)
        asked[Subset(fraction=0.5).choose(number, strata)] = False
        bank, query = ({key: value[part] for key, value in outputs.items()} for part in (~asked, asked))
        values = judge(task, bank, query, "features", draws=2)["linear probe"].values
        name = next(name for name in HEADLINES if values.get(name) == values.get(name) and name in values)
        return name.replace("_", " "), values[name]


@torch.no_grad()
def _features(model: Any, images: Tensor) -> Tensor:
    """Return the mean tokens (N, D) of images of stored values (N, C, H, W)."""
    device = next(model.parameters()).device
    parts = [model.data_preprocessor({"inputs": part.to(device)})["images"] for part in images.split(64)]
    return torch.cat([token_features(model, part).cpu() for part in parts])


def _nearest(first: Tensor, second: Tensor) -> float:
    """Return the share in percent of rows of `first` whose most similar row of `second` is the same image."""
    mean, std = torch.cat([first, second]).mean(dim=0), torch.cat([first, second]).std(dim=0) + 1e-6
    first, second = (functional.normalize((each - mean) / std, dim=1) for each in (first, second))
    return float(((first @ second.T).argmax(dim=1) == torch.arange(len(first))).float().mean() * 100)
