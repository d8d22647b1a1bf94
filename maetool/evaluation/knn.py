"""k-nearest-neighbour classification on features of whole images."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def knn_predict(
    bank: Tensor, bank_labels: Tensor, query: Tensor, k: int = 20, temperature: float = 0.07, chunk: int = 1024
) -> Tensor:
    """Return the class (N,) of each query by a vote of its nearest neighbours in cosine similarity.

    A neighbour votes with exp(similarity / temperature), as is customary since Wu et al., "Unsupervised feature
    learning via non-parametric instance discrimination" (2018), section 3.4.

    Args:
        bank: (M, D), the features of the neighbours.
        bank_labels: int64 (M,), their classes.
        query: (N, D).
        k: neighbours that vote; all of the bank if it is smaller.
        temperature: above 0; small values trust the nearest ones.
        chunk: queries that are compared at a time, which bounds the memory.
    """
    bank = functional.normalize(bank.float(), dim=1)
    classes = int(bank_labels.max()) + 1
    predicted = []
    for part in query.float().split(chunk):
        similarity, ids = (functional.normalize(part, dim=1) @ bank.T).topk(min(k, len(bank)), dim=1)  # (n, k)
        votes = part.new_zeros(len(part), classes)
        votes.scatter_add_(1, bank_labels[ids], (similarity / temperature).exp())
        predicted.append(votes.argmax(dim=1))
    return torch.cat(predicted)


def knn_accuracy(
    bank: Mapping[str, Any], query: Mapping[str, Any], name: str, k: int = 20, temperature: float = 0.07
) -> float:
    """Return the accuracy in percent with the features called `name` of what `collect_features` returns."""
    predicted = knn_predict(bank[name], bank["label"], query[name], k, temperature)
    return (predicted == query["label"]).float().mean().item() * 100
