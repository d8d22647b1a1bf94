"""The reconstruction panel: original, masked, predicted, predicted pasted with visible."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import default_collate

from maetool.data.keys import keyed_rng
from maetool.errors import UsageError
from maetool.ops.random import sample_keys
from maetool.protocols import MapDataset, ModelLike

from .pictures import caption_font, hidden_colour
from .pictures import save_picture as save_picture  # re-exported: 0.1 had it here

Statistics = Literal["true", "visible"]

_GAP, _MIN_SIDE, _LINE = 6, 128, 20
_CAPTIONS = {
    "true": "Predicted patches are normalised; each shows the mean and deviation of the original patch.",
    "visible": "Predicted patches are normalised; all show the mean and deviation of the visible patches.",
    "none": "Predicted patches are pixels as the model gives them.",
}


def first_samples(dataset: MapDataset, number: int, seed: int | None) -> dict[str, Any]:
    """Return the first samples of a map-style dataset as a batch, with the keys that validation uses.

    A dataset without `key_of` takes plain indices; Python's, NumPy's and torch's generators are then seeded by the key.

    Args:
        dataset: a map-style dataset.
        number: of samples; at most as many as there are.
        seed: of the keys; None is 0.

    Raises:
        UsageError: a sample is not a dict with `inputs`.
    """
    number = min(number, len(dataset))
    keys = sample_keys(seed or 0, 0, torch.arange(number)).tolist()
    return default_collate([_sample(dataset, index, key) for index, key in enumerate(keys)])


def _sample(dataset: MapDataset, index: int, key: int) -> dict[str, Any]:
    if hasattr(dataset, "key_of"):
        return dataset[index, key]
    with keyed_rng(key):
        sample = dataset[index]
    if not isinstance(sample, Mapping) or "inputs" not in sample:
        raise UsageError(
            f"Reconstructions are drawn of the `inputs` of a sample, but {type(dataset).__name__} returns a "
            f"{type(sample).__name__} without them: return a dict with `inputs`, or remove the hook, custom_hooks = "
            "dict(pictures=None) with maetool's runtime."
        )
    return {"key": key, **sample}


@torch.no_grad()
def reconstruction_panel(model: ModelLike, batch: dict[str, Any], statistics: Statistics = "true") -> np.ndarray:
    """Draw one row for each image of a batch, as uint8 RGB (height, width, 3); of a clip, its middle frame.

    Args:
        model: a masked image model with a data preprocessor.
        batch: a batch of the loader; its keys or masks determine what is hidden.
        statistics: how normalised predictions are turned back into colours, see `PixelTarget.invert`.

    Raises:
        UsageError: the target cannot be turned back into pixels, or the batch has neither images nor clips.
    """
    stored = drawn_inputs(model, batch["inputs"])
    training = model.training
    model.eval()
    data = model.data_preprocessor(batch)
    result = model(data["images"], data["data_samples"], mode="predict", statistics=statistics)
    model.train(training)
    plan = result["plan"]
    pictures = (stored.float(), _shown(model, data, plan, stored), _stored(model, result["reconstruction"]))
    original, shown, predicted = (displayable(_frame(images, 2), stored) for images in pictures)
    asked = torch.zeros_like(plan.mask).scatter(1, plan.ids_predict, True)
    hidden, asked = (_pixels(cells.cpu(), plan.to("cpu"), stored) for cells in (plan.mask, asked))
    blank = hidden_colour(original)
    masked = torch.where(hidden, blank, shown)
    columns = {
        "original": original,
        f"masked, {plan.mask_ratio:.0%} hidden": masked,
        "predicted": torch.where(asked, predicted, blank),
        "predicted and visible": torch.where(asked, predicted, masked),
    }
    kind = statistics if getattr(model.target, "norm_pix_loss", False) else "none"
    return _draw(columns, _CAPTIONS[kind])


def drawn_inputs(model: ModelLike, inputs: Any) -> Tensor:
    """Return the part of `inputs` to draw, (B, C, *size): of several views the one that the model masks.

    Raises:
        UsageError: it is neither images (B, C, H, W) nor clips (B, C, T, H, W).
    """
    view = getattr(model, "view", None)
    shown = inputs[view] if isinstance(inputs, Mapping) and view in inputs else inputs
    if not isinstance(shown, Tensor) or shown.ndim not in (4, 5):
        kind = f"a tensor of {shown.ndim} axes" if isinstance(shown, Tensor) else ", ".join(inputs)
        raise UsageError(
            "Reconstructions are drawn of images or clips, as one tensor or as the masked view, but the data is "
            f"{kind}: in training leave them out, custom_hooks = dict(pictures=None) with maetool's runtime."
        )
    return shown


def _shown(model: Any, data: Mapping[str, Any], plan: Any, stored: Tensor) -> Tensor:
    """Return the images (B, C, *size) that the encoder saw, in stored units."""
    if getattr(model, "corruption", None) is None:
        return stored.float()
    images = data["images"] if getattr(model, "view", None) is None else data["images"][model.view]
    return _stored(model, model.shown(images, plan, data["data_samples"]))


def _stored(model: ModelLike, images: Tensor) -> Tensor:
    """Return normalised images in stored units, on the CPU."""
    named = () if getattr(model, "view", None) is None else (model.view,)
    return model.data_preprocessor.denormalise(images, *named).cpu()


def _pixels(cells: Tensor, plan: Any, stored: Tensor) -> Tensor:
    """Return bool (B, H, W, 1), of the middle frame, of the patches that `cells` (B, L) marks."""
    return _frame(replace(plan, mask=cells).mask_at(stored.shape[2:]), 1)[..., None]


def _frame(clip: Tensor, axis: int) -> Tensor:
    """Return the middle frame of clips, whose frames lie along an axis before (H, W); images unchanged."""
    return clip.select(axis, clip.shape[axis] // 2) if clip.ndim == axis + 3 else clip


def displayable(images: Tensor, stored: Tensor) -> Tensor:
    """Return images (B, C, H, W) in stored units as uint8 (B, H, W, 3): three channels, or the first one as grey."""
    shown = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    if stored.dtype != torch.uint8:  # no fixed range: stretch the range of the batch, without outliers
        sample = stored.float().flatten()[:: max(1, stored.numel() // 100_000)]
        low, high = sample.quantile(0.01), sample.quantile(0.99)
        shown = (shown - low) / (high - low).clamp(min=1e-9) * 255
    return shown.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def _draw(columns: dict[str, Tensor], caption: str) -> np.ndarray:
    rows, height, width, _ = next(iter(columns.values())).shape
    scale = max(1, -(-_MIN_SIDE // min(height, width)))
    height, width = height * scale, width * scale
    font = caption_font(11)
    size = (_GAP + len(columns) * (width + _GAP), 2 * _LINE + _GAP + rows * (height + _GAP))
    canvas = Image.new("RGB", (max(size[0], int(font.getlength(caption)) + 2 * _GAP), size[1]), "white")
    draw = ImageDraw.Draw(canvas)
    for column, (title, images) in enumerate(columns.items()):
        left = _GAP + column * (width + _GAP)
        draw.text((left, _GAP), title, fill="black", font=font)
        for row, image in enumerate(images.numpy()):
            picture = Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(picture, (left, _LINE + _GAP + row * (height + _GAP)))
    draw.text((_GAP, canvas.height - _LINE), caption, fill="black", font=font)
    return np.asarray(canvas)
