"""Predictions, target and plan to losses."""

from maetool._lazy import lazily

_PLACES = {
    "classification": ("ClassificationHead",),
    "contrastive": ("ContrastiveHead",),
    "parts": ("PartsHead",),
    "ranking": ("RankingHead",),
    "distillation": ("DistillationHead",),
    "regression": ("RegressionHead",),
    "segmentation": ("FCNHead", "LinearMapHead", "UPerHead"),
    "similarity": ("SimilarityHead",),
    "soft_labels": ("SoftLabelHead",),
    "streams": ("StreamHead",),
    "supervised_contrastive": ("SupervisedContrastiveHead",),
    "weighted": ("weighted_sum",),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
