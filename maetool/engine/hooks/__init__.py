"""Hooks, one per file."""

from maetool._lazy import lazily

_PLACES = {
    "broken_files": ("BrokenFilesHook",),
    "checkpoint": ("SafeCheckpointHook",),
    "data_wait": ("DataWaitHook",),
    "guard": ("NonFiniteHook",),
    "health": ("HealthHook",),
    "log": ("LogHook",),
    "loss_curve": ("LossCurveHook",),
    "masker_progress": ("MaskerProgressHook",),
    "objects": ("ObjectsHook",),
    "overlays": ("OverlayHook",),
    "progress": ("ProgressHook",),
    "reconstruction": ("ReconstructionHook",),
    "report": ("ReportHook",),
    "scalars": ("ScalarsHook",),
    "teacher": ("TeacherHook",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
