"""Contract tests that plugin authors import, and small models to test with."""

from .contracts import check_head
from .decoding import check_decoder
from .encoding import check_encoder, check_stem
from .evaluating import check_evaluator
from .masking import check_masker
from .sources import check_source
from .targets import check_corruption, check_target, check_teacher
from .tiny import tiny_batch, tiny_config, tiny_model
from .waits import check_no_waits

__all__ = [
    "check_corruption",
    "check_decoder",
    "check_encoder",
    "check_evaluator",
    "check_head",
    "check_masker",
    "check_no_waits",
    "check_source",
    "check_stem",
    "check_target",
    "check_teacher",
    "tiny_batch",
    "tiny_config",
    "tiny_model",
]
