"""Tokens and a plan to predictions."""

from maetool._lazy import lazily

_PLACES = {
    "alignment": ("AlignmentDecoder",),
    "branch": ("BranchDecoder",),
    "class_bottleneck": ("ClassBottleneckDecoder",),
    "codebook": ("CodebookDecoder",),
    "cross_attention": ("CrossAttentionDecoder",),
    "fusion": ("LayerFusionDecoder",),
    "linear": ("LinearDecoder",),
    "predictor": ("PredictorDecoder",),
    "refining": ("RefiningDecoder",),
    "regressor": ("RegressorDecoder",),
    "queries": ("QueryDecoder",),
    "projection": ("ProjectionDecoder",),
    "scaled": ("ScaledDecoder",),
    "tokens": ("TokensDecoder",),
    "transformer": ("TransformerDecoder",),
    "views": ("CrossViewDecoder",),
    "visible": ("VisibleDecoder",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
