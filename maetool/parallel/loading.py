"""Loads weights into a model, sharded or not."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from maetool.positions import with_tables
from maetool.weights.read import check_weights

from .sharding import load_weights_into


def load_weights(
    model: nn.Module, weights: Mapping[str, Tensor], source: str | Path, config: Path | None = None
) -> None:
    """Load a complete state dict into a model.

    Args:
        model: the model to change.
        weights: the state dict.
        source: its file, for the message.
        config: the file of the config that it was trained with, if known, for the message.

    Raises:
        UsageError: a different architecture; the message counts the differences and names the first of each kind. The
            model stays unchanged.
    """
    weights = with_tables(model, weights)
    check_weights(model.state_dict(), weights, source, config)
    load_weights_into(model, weights)
