"""The encoder alone, out of a checkpoint of a run."""

from collections.abc import Mapping
from typing import Any

from maetool.errors import UsageError

from .checkpoint import weights_of
from .config_text import read_section

_PREFIX = "encoder."


def encoder_of(state: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return `state_dict`, the encoder's weights under timm's names, and `meta`, what a user of them must know.

    Where a run averaged its weights, these are the averaged ones. The facts are the encoder's config, mean and standard
    deviation of the images, the epoch, the versions and the whole config of the run.

    Args:
        state: what `read_checkpoint` returned.
        source: its path, for messages.

    Raises:
        UsageError: the checkpoint holds no encoder.
    """
    weights = weights_of(state, source)
    encoder = {name.removeprefix(_PREFIX): value for name, value in weights.items() if name.startswith(_PREFIX)}
    if not encoder:
        raise UsageError(
            f"{source} holds no encoder: none of its {len(weights)} tensors is called {_PREFIX}something (the first is "
            f"{next(iter(weights))}). Pass a checkpoint that training wrote."
        )
    meta = state.get("meta", {})
    facts = {name: meta[name] for name in ("epoch", "iter", "versions", "cfg") if name in meta}
    model = read_section(facts.get("cfg", ""), "model")
    if model:
        facts |= {"encoder": model.encoder.to_dict(), "data_preprocessor": model.data_preprocessor.to_dict()}
    return {"meta": {**facts, "source": source}, "state_dict": encoder}
