"""Contract tests that plugin authors import, and small models to test with."""

from .contracts import check_decoder, check_encoder, check_head
from .of_maskers import check_masker
from .of_targets import check_corruption, check_target, check_teacher
from .tiny import tiny_batch, tiny_config, tiny_model

__all__ = [
    "check_corruption",
    "check_decoder",
    "check_encoder",
    "check_head",
    "check_masker",
    "check_target",
    "check_teacher",
    "tiny_batch",
    "tiny_config",
    "tiny_model",
]
