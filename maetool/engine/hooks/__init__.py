"""What happens at a moment of training, one file each."""

from .broken_files import BrokenFilesHook
from .checkpoint import SafeCheckpointHook
from .log import LogHook
from .loss_curve import LossCurveHook
from .masker_progress import MaskerProgressHook
from .progress import ProgressHook
from .reconstruction import ReconstructionHook

__all__ = [
    "BrokenFilesHook",
    "LogHook",
    "LossCurveHook",
    "MaskerProgressHook",
    "ProgressHook",
    "ReconstructionHook",
    "SafeCheckpointHook",
]
