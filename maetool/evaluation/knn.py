"""k-nearest-neighbour classification on features of whole images."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from mmengine.dist import all_gather
from torch import Tensor, nn
from torch.nn import functional

Features = Callable[[nn.Module, Tensor], Tensor]


def token_features(model: nn.Module, images: Tensor) -> Tensor:
    """Return the mean patch token (B, D) of whole images (B, C, H, W): nothing is hidden, the prefix is left out.

    A model that pools by itself, such as a classifier, gives what it pools.
    """
    tokens = model(images, mode="tensor")  # (B, T + L, D), or (B, D)
    if tokens.ndim == 2:
        return tokens.float()
    return tokens[:, model.encoder.num_prefix_tokens :].mean(dim=1).float()


def pixel_features(model: nn.Module, images: Tensor) -> Tensor:
    """Return the pixels (B, C * H * W) of images, those above 32 x 32 averaged down to it: what no encoder gives."""
    size = [min(side, 32) for side in images.shape[2:]]
    return functional.adaptive_avg_pool2d(images, size).flatten(1)


@torch.no_grad()
def collect_features(model: nn.Module, loader: Iterable, features: Mapping[str, Features]) -> dict[str, Tensor] | None:
    """Return the features of all labelled samples of a loader, of all processes, on the CPU.

    Args:
        model: with a `data_preprocessor`, in evaluation mode.
        loader: gives batches; a sample that replaces a broken file is left out.
        features: name to function of (model, images).

    Returns:
        Name to (N, D), and `label` (N,); None when the batches have no labels.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in (*features, "label")}
    for data in loader:
        if "label" not in data:
            return None
        valid = torch.tensor([not skipped for skipped in data.get("skipped", [""] * len(data["label"]))])
        images = model.data_preprocessor(data)["images"]
        parts["label"].append(data["label"][valid])
        for name, function in features.items():
            parts[name].append(function(model, images).cpu()[valid])
    return {name: _gather(torch.cat(values)) for name, values in parts.items()}


def _gather(values: Tensor) -> Tensor:
    # Processes may hold different numbers of samples, so they are padded for the exchange and cut afterwards.
    counts = all_gather(torch.tensor([len(values)]))
    longest = int(max(counts))
    padded = torch.cat([values, values.new_zeros(longest - len(values), *values.shape[1:])])
    gathered = all_gather(padded)
    return torch.cat([part[: int(count)] for part, count in zip(gathered, counts, strict=True)])


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
