"""Files of weights: read without running code, written whole or not at all, compared with what they are for."""

from .read import (
    check_archive,
    check_weights,
    local_file,
    named_weights,
    read_checkpoint,
    safetensors_metadata,
    weights_of,
)

__all__ = [
    "check_archive",
    "check_weights",
    "local_file",
    "named_weights",
    "read_checkpoint",
    "safetensors_metadata",
    "weights_of",
]
