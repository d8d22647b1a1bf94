"""The model of a config with the weights of a checkpoint, to be used."""

from mmengine import Config
from torch import nn

from maetool.config.earlier import check_as_trained
from maetool.config.prepare import prepare_config
from maetool.metadata.stored_config import config_file_of
from maetool.parallel.loading import load_weights
from maetool.registry import MODELS
from maetool.weights.read import read_checkpoint, weights_of


def load_model(cfg: Config, checkpoint: str) -> nn.Module:
    """Build the model of a config in evaluation mode, with all its weights from a checkpoint.

    Raises:
        UsageError: a checkpoint that cannot be read or is of another architecture.
    """
    prepare_config(cfg)
    model = MODELS.build(cfg.model)
    state = read_checkpoint(checkpoint)
    check_as_trained(model, state.get("meta"), checkpoint)
    load_weights(model, weights_of(state, checkpoint), checkpoint, config_file_of(state.get("meta"), checkpoint))
    return model.eval()
