"""Losses of labels of which some may be unknown, and weights of classes."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from maetool.errors import UsageError
from maetool.structures.over_processes import total_of


def known_binary_cross_entropy(
    logits: Tensor, target: Tensor, class_weight: Tensor | None = None, pos_weight: Tensor | None = None
) -> Tensor:
    """Return the mean binary cross-entropy, a scalar, over all labels that are known; 0 where none is.

    Args:
        logits: (N, K).
        target: float (N, K) from 0 to 1; NaN where the label is unknown.
        class_weight: (K,), how much each class counts in the mean.
        pos_weight: (K,), how much a positive label counts beside a negative one.
    """
    counts = (~target.isnan()).to(logits.dtype)
    if class_weight is not None:
        counts = counts * class_weight.to(logits.dtype)
    target = target.nan_to_num(0.0).to(logits.dtype)
    losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none", pos_weight=pos_weight)
    return (losses * counts).sum() / total_of(counts).clamp(min=torch.finfo(logits.dtype).tiny)


def balanced_weights(counts: Tensor) -> Tensor:
    """Return the weight of each class (K,), N / (K n), so that all classes together count alike; 0 for one without.

    This is what scikit-learn calls "balanced".

    Args:
        counts: (K,), the number n of images of each class.
    """
    counts = counts.double()
    weights = counts.sum() / (len(counts) * counts)
    return torch.where(counts > 0, weights, 0.0).float()


def balanced_pos_weights(positive: Tensor, negative: Tensor) -> Tensor:
    """Return how much a positive label of each class counts, float32 (K,): negatives / positives.

    Args:
        positive: images that have the label, (K,).
        negative: images that lack it, (K,); a class without positives or without negatives gets 1.
    """
    ratio = negative.double() / positive.double()
    return torch.where((positive > 0) & (negative > 0), ratio, 1.0).float()


def weights_for(name: str, value: Sequence[float] | str | None, num_classes: int) -> Tensor | None:
    """Return the numbers (K,) of an option that weighs classes.

    Args:
        name: of the option, for the message.
        value: K numbers above 0; "balanced", which gives ones until the labels are counted; or None.
        num_classes: K.

    Returns:
        float32 (K,), or None where the option is None.

    Raises:
        UsageError: another number of them, one that is not above 0, or another word.
    """
    if value is None:
        return None
    if value == "balanced":
        return torch.ones(num_classes)
    if isinstance(value, str) or len(value) != num_classes or not min(value) > 0:
        raise UsageError(
            f'{name} is {value!r}, but must be {num_classes} numbers above 0, one for each class, "balanced" or None.'
        )
    return torch.tensor(value, dtype=torch.float32)


def constant_loss(shares: Tensor, class_weight: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross entropy, a scalar, of the best prediction that is the same for all images.

    Without weights and smoothing it is the entropy of the shares.

    Args:
        shares: of the images of each class, (K,), with the sum 1.
        class_weight: (K,), as in `torch.nn.functional.cross_entropy`.
        label_smoothing: as there.
    """
    weight = torch.ones_like(shares) if class_weight is None else class_weight.to(shares)
    target = weight * ((1 - label_smoothing) * shares + label_smoothing / len(shares))
    return -torch.xlogy(target, target / target.sum()).sum() / (weight * shares).sum()


def constant_binary_loss(
    positive: Tensor,
    negative: Tensor,
    class_weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return `known_binary_cross_entropy`, a scalar, of the best probabilities that are the same for all images.

    Args:
        positive: images that have the label, (K,).
        negative: images that lack it, (K,).
        class_weight: (K,), how much each class counts in the mean.
        pos_weight: (K,), how much a positive label counts beside a negative one.
        label_smoothing: moves labels towards 0.5, from 0 to below 1.
    """
    known = (positive + negative).double()
    target = (1 - label_smoothing) * positive / known.clamp(min=1) + label_smoothing / 2
    yes, no = target if pos_weight is None else target * pos_weight, 1 - target
    losses = -torch.xlogy(yes, yes / (yes + no)) - torch.xlogy(no, no / (yes + no))
    counts = known if class_weight is None else known * class_weight
    return (losses * counts).sum() / counts.sum()
