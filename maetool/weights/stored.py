"""Files of safetensors: their tensors, and what maetool stores beside them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from .checksums import CHECKSUM, checksum_of, differs

_METADATA = "maetool"  # key of maetool's JSON in the metadata of a file


def read_safetensors(path: Path) -> dict[str, Any]:
    """Return `state_dict` and, of a file that maetool wrote, `meta`.

    Args:
        path: of the file.

    Raises:
        ValueError: its checksum does not match; or any other exception, if it is damaged.
    """
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts = metadata.get(_METADATA, "{}")
    if differs(metadata.get(CHECKSUM), weights, facts):
        raise ValueError("the checksum does not match")
    return {"state_dict": weights, **({"meta": json.loads(facts)} if _METADATA in metadata else {})}


def safetensors_metadata(meta: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the metadata of a safetensors file: `meta` as JSON, and the checksum of it and of the `weights`."""
    facts = json.dumps(meta)
    return {"format": "pt", _METADATA: facts, CHECKSUM: checksum_of(weights, facts)}
