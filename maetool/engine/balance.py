"""What a model learns from all labels of its training data before the first step."""

from typing import Any


def balance(model: Any, dataset: Any, sampler: Any = None) -> str:
    """Let a model weight its classes, or scale its numbers, by the labels it trains on.

    Args:
        model: asked for its method `learn_balance`.
        dataset: of training, asked for its `labels`.
        sampler: of training; of one with `weights`, such as `BalancedSampler`, the model also learns these.

    Returns:
        A sentence for the log; "" where there is nothing to do.
    """
    learn, labels = getattr(model, "learn_balance", None), getattr(dataset, "labels", None)
    if learn is None or labels is None:
        return ""
    drawn = getattr(sampler, "weights", None)
    sentence = learn(labels) if drawn is None else learn(labels, drawn)
    return f"From the training data: {sentence}." if sentence else ""
