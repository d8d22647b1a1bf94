"""What the features are worth."""

from .knn import collect_features, knn_accuracy, knn_predict, pixel_features, token_features

__all__ = ["collect_features", "knn_accuracy", "knn_predict", "pixel_features", "token_features"]
