"""Weights of classes that come from the labels a model is trained on."""

from typing import Any


def balance(model: Any, dataset: Any) -> str:
    """Let a model weight its classes by the labels of its training data, and return a sentence on that; "" if none."""
    learn, labels = getattr(model, "learn_balance", None), getattr(dataset, "labels", None)
    sentence = learn(labels) if learn is not None and labels is not None else ""
    return f"Weights of the classes in the loss: {sentence}." if sentence else ""
