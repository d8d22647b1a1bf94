"""How good a model is: validation, its metrics, and what the features are worth."""

from maetool._lazy import lazily

_PLACES = {
    "base": ("BaseEvaluator", "EvaluationData"),
    "classes": ("ClassificationEvaluator", "ClassificationValLoop"),
    "features": ("Features", "collect_features", "hog_features", "pixel_features", "token_features"),
    "knn": ("knn_accuracy", "knn_predict", "knn_scores"),
    "loop": ("KnnValLoop", "PretrainValLoop", "ValLoop"),
    "losses": ("LossEvaluator",),
    "names": ("MetricName", "register_metric_name"),
    "objects": ("DetectionEvaluator", "DetectionValLoop"),
    "on_features": ("FeatureEvaluator", "KnnEvaluator", "LinearProbeEvaluator"),
    "pixels": ("SegmentationEvaluator", "SegmentationValLoop"),
    "regression": ("RegressionEvaluator",),
    "patches": ("PatchKnnEvaluator",),
    "spread": ("FeatureSpreadEvaluator", "feature_deviation", "rankme", "token_similarity"),
    "subspaces": ("SubspaceProbeEvaluator", "principal_subspaces"),
    "linear_probe": ("linear_probe_predict", "linear_probe_scores"),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
