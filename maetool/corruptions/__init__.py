"""What the encoder sees instead of the pixels that are predicted."""

from maetool._lazy import lazily

_PLACES = {
    "base": ("Corruption",),
    "codes": ("NearestCodeCorruption",),
    "pixels": ("BlurCorruption", "NoiseCorruption"),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
