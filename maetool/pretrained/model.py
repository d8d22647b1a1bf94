"""Builds the model of a config and loads a checkpoint, for inference."""

from mmengine import Config
from torch import nn

from maetool.config.earlier import check_as_trained
from maetool.config.prepare import prepare_config
from maetool.errors import UsageError
from maetool.metadata.stored_config import config_file_of
from maetool.ops.geometry import to_size
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
    prepare_config(cfg)
    model: ModelLike = MODELS.build(cfg.model)
    state = read_checkpoint(checkpoint)
    check_as_trained(model, state.get("meta"), checkpoint)
    load_weights(model, weights_of(state, checkpoint), checkpoint, config_file_of(state.get("meta"), checkpoint))
    return model.eval()


def image_shape_of(model: nn.Module) -> tuple[int, ...]:
    """Return C, H and W of a model's images: its `image_shape`, or else the encoder's `in_chans` and `img_size`.

    Raises:
        UsageError: it has neither.
    """
    shape, encoder = getattr(model, "image_shape", None), getattr(model, "encoder", None)
    if shape is not None:
        return tuple(shape)
    if encoder is None or not hasattr(encoder, "in_chans") or not hasattr(encoder, "img_size"):
        raise UsageError(
            f"{type(model).__name__} does not define the size of its images: add the attribute `image_shape` "
            "(channels, height, width), or an `encoder` with `in_chans` and `img_size`."
        )
    return encoder.in_chans, *to_size(encoder.img_size, "img_size")
