"""Sections that need the weights of a run: masks, neighbours, attention, confusion, worst cases."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mmengine import Config
from torch.utils.data import default_collate

from maetool.config.complete import complete_config
from maetool.config.facts import task_in
from maetool.config.trust import build_trusted, trusted
from maetool.config.user_data import point_at
from maetool.errors import UsageError
from maetool.metadata.stored_config import read_section
from maetool.pretrained.facts import names_of_classes, names_of_targets
from maetool.pretrained.frozen import load_frozen
from maetool.pretrained.model import masks_of_models, picture_shape_of
from maetool.pretrained.task import load_task
from maetool.protocols import MapDataset
from maetool.registry import DATASETS, MODELS
from maetool.visualization import html
from maetool.visualization.masks import masks_figure
from maetool.weights.read import read_checkpoint, weights_of

from .dense import DENSE, dense_sections
from .facts import RunFacts
from .judged import judged_sections, worst_reconstructions
from .sections import Panels, shown, study_sections
from .study import OneSize, OneView, Study, study_of

_MASKS = 512  # draws for the statistics
_BATCH, _EXAMPLES = 50, 8
_READS = ("model", "train_dataloader", "val_dataloader", "val_cfg")
_FEATURES, _JUDGED = "Neighbours, map and attention", "Confusion and worst cases"


def model_sections(run: RunFacts, images: int, data: str | None = None) -> list[str]:
    """Return the sections of a run's last checkpoint on its validation images; a sentence for each that has none.

    The model is built from the config in the checkpoint, which is not executed.

    Args:
        run: the run.
        images: number of validation images, evenly spaced.
        data: images in place of the run's own, as `--data` of a training takes them.

    Raises:
        UsageError: `data` that the model's task or encoder does not read, or no checkpoint to look at it with.
    """
    if data is not None:
        run = replace(run, config=_with_data(run, data))
        _build(run, _validation(run))  # what is asked for and cannot be read is no matter of single panels
    if run.checkpoint is None:
        return []
    panels = Panels()
    section = read_section(run.meta, "model") or {}
    view = section.get("view")
    if "masker" in section and "target" in section:
        model = panels.make("Masks and worst reconstructions", lambda: _model(run, section))
        data = panels.make("Masks and worst reconstructions", lambda: _build(run, _validation(run)))
        if model is not None and data is not None:
            panels.add("Masks", lambda: _masks(model, data))
            panels.add("Worst reconstructions", lambda: _worst(model, data))
    task = _task(section)
    features = _FEATURES if task in DENSE else f"{_FEATURES}, {_JUDGED.lower()}"
    study = panels.make(features, lambda: _study(run, view, images, task))
    if study is not None:
        makers = {"neighbours": study.neighbours, "patches": study.patches, "attention": study.attention}
        panels.sections += study_sections(study, panels.draw(makers))
    if task in DENSE:
        panels.add(_JUDGED, lambda: _dense(run, task, images))
    elif study is not None:
        panels.add(_JUDGED, lambda: judged_sections(study, names_of_targets(run.meta), names_of_classes(run.meta)))
    return [*panels.sections, panels.left_out()]


def _with_data(run: RunFacts, data: str) -> dict[str, Any]:
    """Return the parts of the config that name data or decide how it is read, with `data` in the place of the own."""
    if run.checkpoint is None:
        raise UsageError(f"--data is {data}, but {run.folder} has no checkpoint that can be read to look at it with.")
    parts = {name: run.config[name] for name in _READS if isinstance(run.config.get(name), Mapping)}
    if "model" not in parts:
        raise UsageError(f"--data is {data}, but {run.checkpoint} does not describe its model: leave --data out.")
    cfg = Config({name: trusted(part, run.checkpoint) for name, part in parts.items()})
    point_at(cfg, data)
    complete_config(cfg)  # the size of the images, which follows from the encoder
    return {**cfg}


def _validation(run: RunFacts) -> Mapping[str, Any]:
    """Return the config of the validation data, or of the training data without one."""
    loaders = [run.config.get(name) or {} for name in ("val_dataloader", "train_dataloader")]
    sections = [loader["dataset"] for loader in loaders if isinstance(loader, Mapping) and loader.get("dataset")]
    if not sections:
        raise UsageError("the config in the checkpoint names no data.")
    return sections[0]


def _own_data(run: RunFacts) -> list[Mapping[str, Any]]:
    """Return the configs of data that evaluators have beside the validation data, such as pictures beside views."""
    loop = run.config.get("val_cfg") or {}
    evaluators = loop.get("evaluators") or {}
    loaders = [each.get("dataloader") or {} for each in evaluators.values() if isinstance(each, Mapping)]
    return [loader["dataset"] for loader in loaders if isinstance(loader, Mapping) and loader.get("dataset")]


def _build(run: RunFacts, dataset: Mapping[str, Any]) -> Any:
    return DATASETS.build(trusted(dataset, run.checkpoint))


def _model(run: RunFacts, section: Mapping[str, Any]) -> Any:
    assert run.checkpoint is not None, "there are weights"
    weights = weights_of(read_checkpoint(run.checkpoint), run.checkpoint)
    model = build_trusted(trusted(section, run.checkpoint), MODELS, weights, run.checkpoint)
    model.load_state_dict(weights)
    return model.eval()


def _masks(model: Any, dataset: MapDataset) -> Iterator[str]:
    """Yield the masks of a masked image model, a row for each stream."""
    inputs = default_collate([dataset[i]["inputs"] for i in range(min(_EXAMPLES, len(dataset)))])
    figure, _ = masks_figure(*masks_of_models({"masks": model}, inputs), _MASKS)
    yield html.section("Masks", html.drawing(figure, "Masks of this run, and statistics of 512 of them"))


def _worst(model: Any, dataset: MapDataset) -> Iterator[str]:
    if not hasattr(model, "reconstruct"):
        raise UsageError(f"{type(model).__name__} gives no reconstructions.")
    panel = worst_reconstructions(model, dataset)
    yield html.section("Worst reconstructions", shown(panel, "The highest losses among 48 images, fixed masks"))


def _study(run: RunFacts, view: str | None, images: int, task: str) -> Study:
    """Return the features of validation images; where these are none, of the first data of the evaluators.

    A segmentor is validated on images of any sizes, which are resized to that of its encoder.
    """
    assert run.checkpoint is not None, "there are weights"
    model, problem = load_frozen(run.checkpoint), UsageError("there is no data.")
    sections: Sequence[Mapping[str, Any]] = [_validation(run), *_own_data(run)]
    for wrapped in (False, True):
        for section in sections if not wrapped or view or task == "segmentation" else ():
            try:
                dataset = _build(run, section)
                if wrapped:
                    dataset = OneView(dataset, view) if view else OneSize(dataset, picture_shape_of(model)[1:])
                return study_of(model, dataset, images, batch_size=_BATCH, workers=0)
            except UsageError as error:
                problem = problem if wrapped or section is not sections[0] else error
    raise problem


def _task(section: Mapping[str, Any]) -> str:
    """Return the task of a model; empty where its class is not known, which is said where it is built."""
    with suppress(UsageError):
        return task_in(section) or "" if "type" in section else ""
    return ""


def _dense(run: RunFacts, task: str, images: int) -> Iterator[str]:
    """Return the sections on what a segmentor or a detector gets wrong."""
    assert run.checkpoint is not None, "there are weights"
    dataset = _build(run, _validation(run))
    return dense_sections(task, load_task(run.checkpoint), dataset, images, names_of_classes(run.meta))
