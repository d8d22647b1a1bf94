"""What a model learns from all labels of its training data before the first step."""

from typing import Any


def balance(model: Any, dataset: Any) -> str:
    """Let a model weight its classes, or scale its numbers, by the labels it trains on.

    Args:
        model: asked for its method `learn_balance`.
        dataset: of training, asked for its `labels`.

    Returns:
        A sentence for the log; "" where there is nothing to do.
    """
    learn, labels = getattr(model, "learn_balance", None), getattr(dataset, "labels", None)
    sentence = learn(labels) if learn is not None and labels is not None else ""
    return f"From the training data: {sentence}." if sentence else ""
