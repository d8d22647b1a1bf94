"""A linear classifier on frozen features."""

import torch
from torch import Tensor, nn
from torch.nn import functional


def linear_probe_predict(
    train: Tensor, labels: Tensor, query: Tensor, weight_decay: float = 1e-3, steps: int = 100
) -> Tensor:
    """Return the class (N,) that a linear classifier fitted on all of `train` gives each query.

    Logistic regression on standardised features, fitted by L-BFGS; deterministic.

    Args:
        train: (M, D), the features to fit on.
        labels: int64 (M,), their classes.
        query: (N, D).
        weight_decay: strength of the penalty on the squared weights.
        steps: iterations of L-BFGS at most.
    """
    mean, std = train.mean(dim=0), train.std(dim=0) + 1e-6
    train, query = (train - mean) / std, (query - mean) / std
    layer = nn.Linear(train.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(layer(train), labels) + weight_decay * layer.weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return layer(query).argmax(dim=1)
