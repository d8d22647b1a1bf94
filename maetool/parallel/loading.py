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
    """Load weights that must fit the model completely.

    Args:
        model: gets them.
        weights: its state dict.
        source: the file that they come from, for the message.
        config: the file of the config that they were trained with, where it is known, for the message.

    Raises:
        UsageError: another architecture; the message counts what differs and names the first of each kind. The model
            is left as it was.
    """
    weights = with_tables(model, weights)
    check_weights(model.state_dict(), weights, source, config)
    load_weights_into(model, weights)
