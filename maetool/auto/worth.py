"""What a finished training was worth, and which commands come next."""

import shlex
from pathlib import Path
from typing import Any

from maetool.pretrained.frozen import load_frozen
from maetool.pretrained.quick_eval import UNTRAINED, QuickEvaluation, judged_by, to_text

from .data import Data
from .judge import Judge

_NEXT = {
    "segment": "maetool train maetool::segmentation/linear_vit-b_ade20k_40k.py --init {checkpoint} --data FOLDER",
    "detect": "maetool train maetool::detection/vitdet_mask-rcnn_vit-b_own_50e.py --init {checkpoint} --data FOLDER",
}


def worth_of(checkpoint: Path, data: Data) -> str:
    """Return what the encoder of a checkpoint is worth, as text.

    With labels, by probes of the images held back, beside a guess, raw pixels, HOG and the untrained encoder. Without,
    by how often two crops of one image find each other, beside the untrained encoder.

    Args:
        checkpoint: of the training.
        data: the images, and those with labels.
    """
    models = {"": load_frozen(checkpoint), UNTRAINED: load_frozen(checkpoint, trained=False)}
    if data.labelled is None or data.held_back is None:
        return _without_labels(models, data)
    evaluation = QuickEvaluation(data.labelled, data.held_back, workers=0, labels=data.numbers)
    results = evaluation.run(models)
    lines = [evaluation.describe(), "", to_text(results, evaluation.spreads), ""]
    lines += [f"The linear probe of the features, by {judged_by(results)} of images held back:", *evaluation.verdicts()]
    return "\n".join(lines)


def _without_labels(models: dict[str, Any], data: Data) -> str:
    judge = Judge(data.place, None)
    own, untrained = (judge(model, 0.0) for model in models.values())
    return (
        f"Two crops of one image find each other among {min(data.facts.images, 256)} in {own.stability:.1f} % of all "
        f"cases, with the untrained encoder in {untrained.stability:.1f} %; the effective rank of the features is "
        f"{own.rank:.1f}, untrained {untrained.rank:.1f}. Whether that helps your task, only labels can tell: add "
        "--labels TABLE with a few dozen."
    )


def next_commands(checkpoint: Path, folder: str, labels: str | None, task: str, trained: bool) -> str:
    """Return the commands that follow, one a line.

    Args:
        checkpoint: of the training.
        folder: of the images.
        labels: the value of --labels, or None.
        task: what the encoder is for.
        trained: there are labels to predict.
    """
    path, where = shlex.quote(str(checkpoint)), shlex.quote(labels or folder)
    lines = [f"maetool extract_features {path} --data {shlex.quote(folder)} --out features.npz"]
    if trained:
        lines.append(f"maetool quick_eval {path} --data {where} --labels 40 100 all")
    if task in _NEXT:
        lines.append(_NEXT[task].format(checkpoint=path))
    return "\n".join(lines)
