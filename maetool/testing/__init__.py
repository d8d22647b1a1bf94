"""Contract tests that plugin authors import, and small models to test with."""

from .contracts import (
    check_decoder,
    check_encoder,
    check_head,
    check_masker,
    check_target,
)
from .tiny import tiny_batch, tiny_config, tiny_model

__all__ = [
    "check_decoder",
    "check_encoder",
    "check_head",
    "check_masker",
    "check_target",
    "tiny_batch",
    "tiny_config",
    "tiny_model",
]
