"""Images and a plan to tokens."""

from maetool._lazy import lazily

_PLACES = {
    "from_timm": ("TimmEncoder",),
    "hybrid": ("HybridTransformer",),
    "mixed": ("MixedTransformer",),
    "streams": ("StreamTransformer",),
    "swin": ("SwinTransformer",),
    "vit": ("VisionTransformer",),
    "windowed": ("WindowedTransformer",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
