"""A linear classifier on frozen features."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from maetool.heads.labels import known_binary_cross_entropy


def linear_probe_scores(
    train: Tensor, labels: Tensor, query: Tensor, weight_decay: float = 1e-3, steps: int = 100
) -> Tensor:
    """Fit a linear classifier on `train` and return its logits (N, K) for each query.

    Logistic regression on standardised features, fitted by L-BFGS; deterministic.

    Args:
        train: (M, D), the features to fit on.
        labels: their classes, int64 (M,), or float32 (M, K) of zeros and ones for several.
        query: (N, D).
        weight_decay: strength of the penalty on the squared weights.
        steps: maximum number of L-BFGS iterations.
    """
    # The deviation of a single image is 0, not NaN.
    mean, std = train.mean(dim=0), train.std(dim=0, correction=min(1, len(train) - 1)) + 1e-6
    train, query = (train - mean) / std, (query - mean) / std
    several = labels.ndim == 2
    layer = nn.Linear(train.shape[1], labels.shape[1] if several else int(labels.max()) + 1)
    criterion = known_binary_cross_entropy if several else functional.cross_entropy
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = criterion(layer(train), labels) + weight_decay * layer.weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return layer(query).detach()


def linear_probe_probabilities(train: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """Return the probabilities of the classes, float64 (N, K), that `linear_probe_scores` gives.

    Args:
        train, labels, query: see `linear_probe_scores`; of several labels each has a probability of its own.
    """
    logits = linear_probe_scores(train, labels, query).double()
    return logits.sigmoid() if labels.ndim == 2 else logits.softmax(dim=1)


def linear_probe_predict(
    train: Tensor, labels: Tensor, query: Tensor, weight_decay: float = 1e-3, steps: int = 100
) -> Tensor:
    """Return the class (N,) of the largest logit of each query; arguments as in `linear_probe_scores`."""
    return linear_probe_scores(train, labels, query, weight_decay, steps).argmax(dim=1)
