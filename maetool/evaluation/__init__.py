"""What the features are worth."""

from .features import Features, collect_features, pixel_features, token_features
from .knn import knn_accuracy, knn_predict, knn_scores
from .linear_probe import linear_probe_predict, linear_probe_scores

__all__ = [
    "Features",
    "collect_features",
    "knn_accuracy",
    "knn_predict",
    "knn_scores",
    "linear_probe_predict",
    "linear_probe_scores",
    "pixel_features",
    "token_features",
]
