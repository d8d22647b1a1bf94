"""What a finished training was worth, and which commands come next."""

import shlex
from pathlib import Path
from typing import Any

from maetool.config.load import load_config
from maetool.inspection.paste import Command
from maetool.metadata.stored_config import read_section
from maetool.pretrained.as_trained import options_as_trained
from maetool.pretrained.facts import section_in
from maetool.pretrained.frozen import load_frozen
from maetool.pretrained.quick_eval import UNTRAINED, QuickEvaluation, judged_by, to_text
from maetool.weights.read import read_checkpoint

from .data import Data
from .judge import Judge

_TASKS = {"segment": ["segmentation"], "detect": ["detection"], "classify": ["classification", "regression"]}
_TINY = {  # for the tiny encoder
    "classification": "maetool::finetune/vit-t_shapes.py",
    "detection": "maetool::detection/vitdet_mask-rcnn_vit-t_shapes.py",
}
_BLOCKS = 4  # of the tiny encoder


def worth_of(checkpoint: Path, data: Data, task: str) -> str:
    """Return what the encoder of a checkpoint is worth, as text.

    With labels, by probes of the images held back, beside a guess, raw pixels, HOG and the untrained encoder. Without,
    by how often two crops of one image find each other, beside the untrained encoder.

    Args:
        checkpoint: of the training.
        data: the images, and those with labels.
        task: what the encoder is for.
    """
    models = {"": load_frozen(checkpoint), UNTRAINED: load_frozen(checkpoint, trained=False)}
    if data.labelled is None or data.held_back is None:
        return _without_labels(models, data, task)
    evaluation = QuickEvaluation(data.labelled, data.held_back, workers=0, labels=data.numbers)
    results = evaluation.run(models)
    lines = [evaluation.describe(), "", to_text(results, evaluation.spreads), ""]
    lines += [f"The linear probe of the features, by {judged_by(results)} of images held back:", *evaluation.verdicts()]
    return "\n".join(lines)


def _without_labels(models: dict[str, Any], data: Data, task: str) -> str:
    judge = Judge(data.place, None)
    own, untrained = (judge(model, 0.0) for model in models.values())
    dense = "a training on masks or boxes can tell, with --init and without it"
    tells = dense if task in ("segment", "detect") else "labels can tell: add --labels TABLE with a few dozen"
    return (
        f"Two crops of one image find each other among {min(data.facts.images, 256)} in {own.stability:.1f} % of all "
        f"cases, with the untrained encoder in {untrained.stability:.1f} %; the effective rank of the features is "
        f"{own.rank:.1f}, untrained {untrained.rank:.1f}. Whether that helps your task, only {tells}."
    )


def next_commands(checkpoint: Path, folder: str, labels: str | None, task: str, data: Data) -> str:
    """Return the commands that follow, one a line.

    Args:
        checkpoint: of the training.
        folder: of the images.
        labels: the value of --labels, or None.
        task: what the encoder is for.
        data: the images, and those with labels.
    """
    path, where = shlex.quote(str(checkpoint)), shlex.quote(labels or folder)
    lines = [f"maetool extract_features {path} --data {shlex.quote(folder)} --out features.npz"]
    if data.labelled:
        numbers = " ".join("all" if number is None else str(number) for number in data.numbers)
        lines.append(f"maetool quick_eval {path} --data {where} --labels {numbers}")
    tasks = _TASKS.get(task, [])
    found = next((each for each in data.commands if each.task in tasks), None)
    if found:
        lines.append(_training(found, checkpoint))
    elif task in ("segment", "detect"):
        lines.append(f"maetool check {where} --task {tasks[0]}")
    return "\n".join(lines)


def _training(found: Command, checkpoint: Path) -> str:
    """Return the training that `maetool check` offers for the truth of the images, with the encoder of a checkpoint."""
    meta = read_checkpoint(checkpoint).get("meta")
    section = section_in(meta) or {}
    tiny = section.get("encoder", {}).get("depth") == _BLOCKS
    config = _TINY.get(found.task, found.config) if tiny else found.config
    options = [each for each in found.options if not each.startswith("model.data_preprocessor.")]
    if tiny and found.task == "classification":  # cropped as the plan has it, and not mirrored
        dataset = (read_section(meta, "train_dataloader") or {})["dataset"]
        crops = [dict(each) for each in dataset["pipeline"]]
        text = str(crops).replace(" ", "").replace("'", '"')  # in a shell's single quotes
        options.append(f"train_dataloader.dataset.pipeline={text}")
    encoder = options_as_trained(load_config(config).model, meta)
    chosen = shlex.join({each.partition("=")[0]: each for each in [*options, *encoder]}.values())
    start = f"maetool train {config} --data {shlex.quote(found.data)} --init {shlex.quote(str(checkpoint))}"
    return start + (f" --cfg-options {chosen}" if chosen else "")
