"""Uses of a trained model: loading, export, conversion, model cards, features and predictions."""
