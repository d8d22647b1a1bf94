"""What the features are worth."""

from .features import collect_features, pixel_features, token_features
from .knn import knn_accuracy, knn_predict
from .linear_probe import linear_probe_predict

__all__ = [
    "collect_features",
    "knn_accuracy",
    "knn_predict",
    "linear_probe_predict",
    "pixel_features",
    "token_features",
]
