"""One input to tokens: what stands before the trunk of an encoder of several streams."""

from maetool._lazy import lazily

_PLACES = {
    "groups": ("GroupStem",),
    "patches": ("PatchStem",),
    "points": ("PointStem",),
    "tokens": ("TokenStem",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
