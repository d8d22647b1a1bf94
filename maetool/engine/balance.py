"""What a model learns from all labels of its training data before the first step."""

from typing import Any


def balance(model: Any, dataset: Any) -> str:
    """Let a model weight its classes, or scale its numbers, by the labels; return a sentence on that, or ""."""
    learn, labels = getattr(model, "learn_balance", None), getattr(dataset, "labels", None)
    sentence = learn(labels) if learn is not None and labels is not None else ""
    return f"From the training data: {sentence}." if sentence else ""
