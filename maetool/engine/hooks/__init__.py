"""What happens at a moment of training, one file each."""

from .broken_files import BrokenFilesHook
from .checkpoint import SafeCheckpointHook
from .data_wait import DataWaitHook
from .guard import NonFiniteHook
from .log import LogHook
from .loss_curve import LossCurveHook
from .masker_progress import MaskerProgressHook
from .objects import ObjectsHook
from .overlays import OverlayHook
from .progress import ProgressHook
from .reconstruction import ReconstructionHook
from .teacher import TeacherHook

__all__ = [
    "BrokenFilesHook",
    "DataWaitHook",
    "LogHook",
    "LossCurveHook",
    "MaskerProgressHook",
    "NonFiniteHook",
    "ObjectsHook",
    "OverlayHook",
    "ProgressHook",
    "ReconstructionHook",
    "SafeCheckpointHook",
    "TeacherHook",
]
