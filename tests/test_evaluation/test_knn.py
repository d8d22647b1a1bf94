"""kNN against a slow version by hand, the linear probe, and the features they get."""

import pytest
import torch
from torch.utils.data import DataLoader

from maetool.data import ShapesDataset
from maetool.evaluation import (
    collect_features,
    knn_accuracy,
    knn_predict,
    linear_probe_predict,
    linear_probe_scores,
    pixel_features,
    token_features,
)
from maetool.testing import tiny_model


def by_hand(bank, labels, query, k, temperature):
    found = []
    for q in query:
        similarity = torch.nn.functional.cosine_similarity(q[None], bank)
        votes = {}
        for i in similarity.argsort(descending=True)[:k].tolist():
            votes[labels[i].item()] = votes.get(labels[i].item(), 0) + (similarity[i] / temperature).exp().item()
        found.append(max(votes, key=votes.get))
    return torch.tensor(found)


@pytest.mark.parametrize("k", [1, 5, 200])
def test_against_a_loop(k):
    generator = torch.Generator().manual_seed(0)
    bank, query = torch.randn(90, 7, generator=generator), torch.randn(33, 7, generator=generator)
    labels = torch.randint(4, (90,), generator=generator)
    assert torch.equal(knn_predict(bank, labels, query, k, 0.1, chunk=8), by_hand(bank, labels, query, k, 0.1))


def test_features_of_a_loader_and_of_broken_files():
    model = tiny_model().eval()
    data = ShapesDataset(10, (16, 32))
    functions = {"knn": token_features, "pixels": pixel_features}
    found = collect_features(model, DataLoader(data, batch_size=4), functions)
    assert found["knn"].shape == (10, 24)
    assert found["pixels"].shape == (10, 3 * 16 * 32)
    assert knn_accuracy(found, found, "pixels", k=1) == 100.0
    batch = next(iter(DataLoader(data, batch_size=4)))
    batch["skipped"] = ["", "a.jpg: broken", "", ""]
    assert torch.equal(collect_features(model, [batch], functions)["label"], batch["label"][[0, 2, 3]])
    del batch["label"]
    assert sorted(collect_features(model, [batch], functions)) == ["index", "knn", "pixels"]


def test_nothing_is_hidden_from_features():
    model = tiny_model().eval()
    images = torch.randn(2, 3, 16, 32)
    changed = images.clone()
    for row in range(2):
        for column in range(8):
            changed[:, :, row * 8, column * 4] += 1
            assert not torch.equal(token_features(model, images), token_features(model, changed))
            changed = images.clone()


def test_large_pictures_are_averaged_for_the_pixel_baseline():
    assert pixel_features(None, torch.zeros(2, 3, 224, 100)).shape == (2, 3 * 32 * 32)


@pytest.mark.parametrize("size", [(64,), (40, 8), (4, 40, 40)])
def test_the_pixel_baseline_has_any_rank(size):
    images = torch.randn(2, 3, *size)
    pixels = pixel_features(None, images).unflatten(1, (3, *(min(side, 32) for side in size)))
    assert torch.allclose(pixels.flatten(2).mean(2), images.flatten(2).mean(2), atol=0.05)


def test_a_linear_probe_of_one_image_is_no_nan():
    scores = linear_probe_scores(torch.randn(1, 5), torch.tensor([1]), torch.randn(3, 5))
    assert scores.isfinite().all()
    assert (scores.argmax(dim=1) == 1).all()


def test_linear_probe_separates_what_is_linear():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(600, 5, generator=generator) * torch.tensor([1.0, 100, 1, 0.01, 0])
    labels = (points[:, 0] + 100 * points[:, 3] > 0).long()
    predicted = linear_probe_predict(points[:400], labels[:400], points[400:])
    assert (predicted == labels[400:]).float().mean().item() > 0.96
