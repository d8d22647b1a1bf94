"""k-nearest-neighbour classification on features of whole images."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_SIMILARITIES = 2**26  # float32 values at a time


def knn_scores(
    bank: Tensor, bank_labels: Tensor, query: Tensor, k: int = 20, temperature: float = 0.07, chunk: int | None = None
) -> Tensor:
    """Return the shares (N, K), 0 to 1, of the votes of each query's nearest neighbours by cosine similarity.

    A neighbour votes with weight exp(similarity / temperature), following Wu et al., "Unsupervised feature
    learning via non-parametric instance discrimination" (2018), section 3.4.

    Args:
        bank: (M, D), the features of the labelled images.
        bank_labels: their classes, int64 (M,), or float32 (M, K) of zeros and ones for several.
        query: (N, D).
        k: number of neighbours; at most the size of the bank.
        temperature: above 0; small values favour the nearest neighbours.
        chunk: queries per batch, which bounds the memory; by default 256 MB of similarities.
    """
    bank = functional.normalize(bank.float(), dim=1)
    if bank_labels.ndim == 2:  # an unknown label votes like the mean of its class
        bank_labels = torch.where(bank_labels.isnan(), bank_labels.nanmean(dim=0), bank_labels)
    classes = bank_labels.shape[1] if bank_labels.ndim == 2 else int(bank_labels.max()) + 1
    chunk = chunk or max(1, _SIMILARITIES // len(bank))
    scores = []
    for part in query.float().split(chunk):
        similarity, ids = (functional.normalize(part, dim=1) @ bank.T).topk(min(k, len(bank)), dim=1)  # (n, k)
        votes = (similarity / temperature).softmax(dim=1)
        if bank_labels.ndim == 2:
            scores.append((votes[:, None] @ bank_labels[ids])[:, 0])  # (n, K)
        else:
            scores.append(part.new_zeros(len(part), classes).scatter_add_(1, bank_labels[ids], votes))
    return torch.cat(scores)


def knn_predict(
    bank: Tensor, bank_labels: Tensor, query: Tensor, k: int = 20, temperature: float = 0.07, chunk: int | None = None
) -> Tensor:
    """Return the class (N,) with the most votes of each query's neighbours; arguments as in `knn_scores`."""
    return knn_scores(bank, bank_labels, query, k, temperature, chunk).argmax(dim=1)


def knn_accuracy(
    bank: Mapping[str, Any], query: Mapping[str, Any], name: str, k: int = 20, temperature: float = 0.07
) -> float:
    """Return the accuracy of kNN in percent.

    Args:
        bank: result of `collect_features` for the labelled neighbours.
        query: the same for the images that are evaluated.
        name: of the features in both.
        k: number of neighbours.
        temperature: of the votes, see `knn_scores`.
    """
    predicted = knn_predict(bank[name], bank["label"], query[name], k, temperature)
    return (predicted == query["label"]).float().mean().item() * 100
