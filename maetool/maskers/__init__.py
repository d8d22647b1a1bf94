"""Who decides what is hidden."""

from maetool._lazy import lazily

_PLACES = {
    "base": ("Masker",),
    "color": ("ColorNoiseMasker",),
    "combined": ("GivenMasker", "MixedMasker", "ScheduledMasker"),
    "groups": ("GroupMasker",),
    "hard": ("HardPatchMasker",),
    "learned": ("AdaptiveMasker", "ChangeMasker"),
    "none": ("NoMasker",),
    "predicting": ("AlsoVisibleMasker", "MultiBlockMasker"),
    "random": ("RandomMasker",),
    "reduced": ("StreamMasker", "TubeMasker"),
    "structured": ("AlignedMasker", "BlockMasker", "GridMasker", "InverseBlockMasker"),
    "variable": ("AttentionMasker", "VariableMasker"),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
