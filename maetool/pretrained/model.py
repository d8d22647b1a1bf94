"""Builds the model of a config and loads a checkpoint, for inference."""

from collections.abc import Mapping
from typing import Any

from mmengine import Config
from torch import nn

from maetool.config.earlier import check_as_trained
from maetool.config.prepare import prepare_config
from maetool.errors import UsageError
from maetool.metadata.stored_config import config_file_of
from maetool.models.pairing import encoder_shape as encoder_shape  # re-exported beside `image_shape_of`
from maetool.models.pairing import grids_of, layout_of
from maetool.parallel.loading import load_weights
from maetool.protocols import ModelLike
from maetool.registry import MODELS
from maetool.weights.read import read_checkpoint, weights_of


def load_model(cfg: Config, checkpoint: str) -> ModelLike:
    """Build the model of a config in evaluation mode, with all its weights from a checkpoint.

    Args:
        cfg: the config; it is completed in place.
        checkpoint: path or address of the file.

    Raises:
        UsageError: a checkpoint that cannot be read or is of another architecture.
    """
    prepare_config(cfg, processes=1)  # nothing is trained, however many processes predict
    model: ModelLike = MODELS.build(cfg.model)
    state = read_checkpoint(checkpoint)
    check_as_trained(model, state.get("meta"), checkpoint)
    load_weights(model, weights_of(state, checkpoint), checkpoint, config_file_of(state.get("meta"), checkpoint))
    return model.eval()


def image_shape_of(model: nn.Module) -> tuple[int, ...]:
    """Return C and the sides of a model's images, clips or series: its `image_shape`, or else that of its encoder.

    Raises:
        UsageError: it has neither, or reads ids or several streams.
    """
    encoder: Any = getattr(model, "encoder", None)
    shape = getattr(model, "image_shape", None) or encoder_shape(encoder)
    if shape is not None:
        return tuple(shape)
    if hasattr(encoder, "image_shape"):
        raise UsageError(
            f"{type(encoder).__name__} reads {', '.join(encoder.grids)} and not one tensor of images, which this "
            "needs: `maetool test CONFIG CHECKPOINT` measures it on the data of its config, and "
            "`maetool.load_encoder(CHECKPOINT)` is called with what it reads."
        )
    raise UsageError(
        f"{type(model).__name__} does not define the size of its images: add the attribute `image_shape` "
        "(channels, height, width), or an `encoder` with `in_chans` and `img_size`."
    )


def picture_shape_of(model: nn.Module) -> tuple[int, ...]:
    """Return C, H and W of a model that reads pictures, as files hold them.

    Raises:
        UsageError: it reads something else.
    """
    shape = image_shape_of(model)
    if len(shape) != 3:
        kind = {2: "series", 4: "clips or volumes"}[len(shape)]
        raise UsageError(
            f"The encoder reads {kind} of shape {shape}, but image files are pictures of (channels, height, width): "
            "`maetool test CONFIG CHECKPOINT` measures it on the data of its config, and "
            "`maetool.load_encoder(CHECKPOINT)` is called with tensors."
        )
    return shape


def masks_of_models(models: Mapping[str, Any], inputs: Any) -> tuple[dict[str, nn.Module], Any, Any]:
    """Return what `maetool.visualization.masks.masks_figure` draws of models: maskers, images and grids.

    Of an encoder of several streams there is a masker for each, and images and grids are mappings from their names.

    Args:
        models: masked image models of equal grids, by name.
        inputs: the first inputs of a dataset, (N, C, *size), ids, or a mapping of streams, or of views, of which the
            masked one is used.
    """
    from maetool.visualization.masks import ModelMasks  # with OpenCV, which other uses of models do without

    first = next(iter(models.values()))
    view, grids = getattr(first, "view", None), grids_of(first.encoder)
    inputs = inputs[view] if isinstance(inputs, Mapping) and view in inputs else inputs
    layout = layout_of(first.encoder, inputs)
    if len(grids) == 1:
        return {name: ModelMasks(model, inputs, layout) for name, model in models.items()}, inputs, first.encoder.grid
    rows = {f"{name} {stream}": (name, stream) for name in models for stream in grids}
    shown = first.encoder.split(inputs)
    return (
        {row: ModelMasks(models[name], inputs, layout, stream) for row, (name, stream) in rows.items()},
        {row: shown[stream] for row, (_, stream) in rows.items()},
        {row: grids[stream] for row, (_, stream) in rows.items()},
    )
