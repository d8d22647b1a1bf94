"""Principal components, neighbours and clusters against other ways to get them."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from maetool.encoders import SwinTransformer, TimmEncoder, VisionTransformer
from maetool.errors import UsageError
from maetool.visualization import (
    clusters,
    gallery,
    map_figure,
    nearest_neighbours,
    patch_colours,
    patch_components,
    principal_components,
)
from maetool.visualization.features import evenly_spread

SIZES = {"img_size": (16, 24), "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4}
SWIN = {"patch_size": 4, "embed_dim": 8, "depths": (2, 1), "num_heads": (1, 2), "window_size": 2}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def blobs():
    """Return 30 features of three kinds, in turn, whose lengths say nothing."""
    return torch.eye(3, 8).repeat(10, 1) * drawn(30, 1).abs().add(0.5) + 0.02 * drawn(30, 8, seed=1)


def test_components_are_those_of_sklearn():
    vectors = drawn(40, 6) @ drawn(6, 6, seed=1)
    expected = PCA(3).fit_transform(vectors.double().numpy())
    expected *= np.sign(expected[np.abs(expected).argmax(axis=0), range(3)])
    torch.testing.assert_close(principal_components(vectors), torch.tensor(expected).float(), rtol=1e-3, atol=1e-4)


def test_components_that_do_not_exist_are_zero():
    line = torch.arange(5.0)[:, None] * torch.tensor([[1.0, 2.0]])
    found = principal_components(line, 3)
    assert found.shape == (5, 3) and found[:, 0].std() > 1
    torch.testing.assert_close(found[:, 1:], torch.zeros(5, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("make", "grid"),
    [
        (lambda: VisionTransformer(**SIZES), (2, 3)),
        (lambda: VisionTransformer(num_registers=3, class_token=False, **SIZES), (2, 3)),
        (lambda: TimmEncoder("vit_base_patch16_224", **SIZES), (2, 3)),
        (lambda: SwinTransformer(img_size=(16, 24), **SWIN), (2, 3)),
    ],
)
def test_patches_of_one_kind_have_one_colour_in_any_encoder(make, grid):
    encoder = make().eval()
    images = torch.zeros(2, 3, 16, 24)
    images[0] = drawn(3, 1, 1)
    images[1] = drawn(3, 1, 1, seed=1)
    colours = patch_components(encoder, images)
    assert colours.shape == (2, *grid, 3) and colours.min() >= 0 and colours.max() <= 1
    between = (colours[0].mean((0, 1)) - colours[1].mean((0, 1))).abs().max()
    assert between > 2 * colours.flatten(1, 2).std(dim=1).min()
    assert patch_colours([np.zeros((16, 24, 3), np.uint8)] * 2, colours).shape[2] == 3


def test_an_encoder_without_a_grid_is_refused():
    with pytest.raises(UsageError, match="no tokens in rows and columns"):
        patch_components(torch.nn.Flatten(), torch.zeros(2, 3, 8, 8))


def test_neighbours_are_the_most_similar_others():
    features = blobs()
    nearest, similarity = nearest_neighbours(features, 9)
    assert (nearest % 3 == torch.arange(30)[:, None] % 3).all()
    assert (nearest != torch.arange(30)[:, None]).all() and (similarity > 0.9).all()
    asked, _ = nearest_neighbours(features, 40, torch.tensor([4, 2]))
    assert asked.shape == (2, 29) and torch.equal(asked[:, :9], nearest[[4, 2]])


def test_clusters_and_images_that_differ():
    features = blobs()[:-1]
    groups = clusters(features, 3)
    assert groups.bincount().tolist() == [10, 10, 9]
    assert all(len(groups[kind::3].unique()) == 1 for kind in range(3))
    assert set((evenly_spread(features, 3) % 3).tolist()) == {0, 1, 2}
    assert len(evenly_spread(features, 50).unique()) == 29
    assert clusters(features[:2], 10).unique().numel() <= 2


def test_pictures_of_any_size_and_caption():
    pictures = [np.full((20, 40, 3), 9, np.uint8), np.full((7, 3, 3), 9, np.uint8)]
    drawn_of_both = gallery([pictures, pictures[:1]], [["a", "a very long name of a file.png"], [""]], 64)
    assert drawn_of_both.shape == (2 * (64 + 16 + 6) + 6, 2 * (64 + 6) + 6, 3)
    assert (drawn_of_both[:70] == 9).any() and (drawn_of_both == 9).all(axis=2).sum() > 2 * 32 * 60


def test_a_map_names_its_groups():
    figure = map_figure(drawn(6, 2), torch.tensor([0, 0, 2, 2, 1, 1]), ["x", "y", "z"])
    assert [text.get_text() for text in figure.legends[0].texts] == ["x", "y", "z"]
    assert not map_figure(drawn(6, 2)).legends
