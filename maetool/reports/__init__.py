"""What a run, a comparison or an encoder is like, on one page without a server."""

from maetool._lazy import lazily

_PLACES = {"run": ("run_page",), "study": ("Study", "study_of")}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
