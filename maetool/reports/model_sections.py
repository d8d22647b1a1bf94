"""Sections that need the weights of a run: masks, neighbours, attention, confusion, worst cases."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from maetool.config.trust import build_trusted, trusted
from maetool.errors import UsageError
from maetool.metadata.stored_config import read_section
from maetool.pretrained.frozen import load_frozen
from maetool.registry import DATASETS, MODELS
from maetool.visualization import html
from maetool.visualization.masks import ModelMasks, masks_figure
from maetool.weights.read import read_checkpoint, weights_of

from .facts import RunFacts
from .judged import judged, worst_reconstructions
from .sections import shown, study_sections
from .study import study_of

_MASKS = 512  # draws for the statistics
_BATCH = 50


def model_sections(run: RunFacts, images: int) -> list[str]:
    """Return the sections of a run's last checkpoint on its validation images; a sentence where one cannot be made.

    The model is built from the config in the checkpoint, which is not executed.

    Args:
        run: the run.
        images: number of validation images, evenly spaced.
    """
    if run.checkpoint is None:
        return []
    try:
        dataset = _dataset(run)
    except UsageError as error:
        return [html.section("Features", html.paragraph(f"They are left out: {error}"))]
    makers: dict[str, Callable[[], Iterable[str]]] = {
        "Masks": lambda: _of_reconstruction(run, dataset),
        "Features": lambda: _of_features(run, dataset, images),
    }
    return [section for title, make in makers.items() for section in _or_sentence(title, make)]


def _or_sentence(title: str, make: Callable[[], Iterable[str]]) -> list[str]:
    try:
        return list(make())
    except UsageError as error:
        return [html.section(title, html.paragraph(f"They are left out: {error}"))]


def _dataset(run: RunFacts) -> Any:
    name = "val_dataloader" if run.config.get("val_dataloader") else "train_dataloader"
    section = read_section(run.meta, name)
    if section is None or not section.get("dataset"):
        raise UsageError("the config in the checkpoint names no data.")
    return DATASETS.build(trusted(section.dataset, run.checkpoint))


def _of_reconstruction(run: RunFacts, dataset: Any) -> Iterable[str]:
    """Yield the masks of a masked image model, and its worst reconstructions."""
    section = read_section(run.meta, "model") or {}
    assert run.checkpoint is not None, "there are weights"
    if "masker" not in section or "target" not in section:
        return
    state = read_checkpoint(run.checkpoint)
    weights = weights_of(state, run.checkpoint)
    model = build_trusted(trusted(section, run.checkpoint), MODELS, weights, run.checkpoint)
    model.load_state_dict(weights)
    model.eval()
    inputs = dataset[0]["inputs"]
    if isinstance(inputs, torch.Tensor) and inputs.ndim == 3 and hasattr(model.encoder, "grid"):
        batch = torch.stack([dataset[i]["inputs"] for i in range(min(8, len(dataset)))])
        masks = ModelMasks(model, batch, model.encoder.layout_of(batch))
        figure, _ = masks_figure({"masks": masks}, batch, model.encoder.grid, _MASKS)
        yield html.section("Masks", html.drawing(figure, "Masks of this run, and statistics of 512 of them"))
    if hasattr(model, "reconstruct"):
        panel = worst_reconstructions(model, dataset)
        yield html.section("Worst reconstructions", shown(panel, "The highest losses among 48 images, fixed masks"))


def _of_features(run: RunFacts, dataset: Any, images: int) -> Iterable[str]:
    """Yield neighbours, map, patches and attention, then confusion and the images that are most wrong."""
    assert run.checkpoint is not None, "there are weights"
    study = study_of(load_frozen(run.checkpoint), dataset, images, batch_size=_BATCH, workers=0)
    drawn = {"neighbours": study.neighbours(), "patches": study.patches(), "attention": study.attention()}
    yield from study_sections(study, drawn)
    result = judged(study)
    if result is None:
        return
    note = f"By {result.by}: {result.accuracy:.1f} % of {len(study.features):,} images."
    yield html.section("Confusion", html.drawing(result.confusion(), note))
    worst = result.worst()
    if worst is not None:
        yield html.section("Worst cases", shown(worst, f"True → predicted by {result.by}, with the probability."))
