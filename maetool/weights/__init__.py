"""Weight files: loading that never executes code, atomic writes, checks against the model."""

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
