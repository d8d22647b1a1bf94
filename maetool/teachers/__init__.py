"""Who speaks before the mask: encoders that learn nothing by gradients."""

from maetool._lazy import lazily

_PLACES = {
    "base": ("Teacher",),
    "frozen": ("FrozenTeacher",),
    "momentum": ("MomentumTeacher",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
