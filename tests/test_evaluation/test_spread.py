"""Signs of collapse, and kNN on patches, against numbers that can be worked out by hand."""

import math

import pytest
import torch
from torch import nn

from maetool.data import ShapesDataset, ShapesSegmentation
from maetool.errors import UsageError
from maetool.evaluation import FeatureSpreadEvaluator, PatchKnnEvaluator, feature_deviation, rankme, token_similarity
from maetool.testing import check_evaluator, tiny_model


def rows_with(singular, number):
    """Return features (number, D) with these singular values, in directions drawn at random."""
    generator = torch.Generator().manual_seed(0)
    size = len(singular)
    left = torch.linalg.qr(torch.randn(number, size, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    return left @ torch.diag(torch.tensor(singular, dtype=torch.float64)) @ right.T


@pytest.mark.parametrize("number", [4, 300])
def test_rankme_is_the_exponential_of_the_entropy_of_the_singular_values(number):
    expected = math.exp(-sum(p * math.log(p) for p in (0.4, 0.3, 0.2, 0.1)))
    assert rankme(rows_with([4.0, 3.0, 2.0, 1.0], number)) == pytest.approx(expected, rel=1e-4)
    assert rankme(rows_with([1.0] * 4, number)) == pytest.approx(4, rel=1e-4)
    assert rankme(torch.ones(number, 4)) == pytest.approx(1, rel=1e-4)
    assert math.isfinite(rankme(torch.zeros(number, 4)))


def test_the_deviation_is_one_of_features_into_all_directions_and_none_of_equal_ones():
    axes = torch.cat([torch.eye(5), -torch.eye(5)])
    assert feature_deviation(axes * torch.rand(10, 1).add(0.1)) == pytest.approx(1)
    assert feature_deviation(torch.arange(1.0, 8)[:, None] * torch.tensor([3.0, -1.0])) == pytest.approx(0, abs=1e-7)


class Tokens(nn.Module):
    """Gives the same tokens for all images, behind one prefix token."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens, self.encoder = tokens, nn.Module()
        self.encoder.num_prefix_tokens = 1

    def forward(self, images, mode):
        return self.tokens.expand(len(images), -1, -1)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([[9.0, 9], [1, 0], [2, 0], [5, 0]], 1.0),
        ([[9.0, 9], [1, 0], [0, 3]], 0.0),
        ([[9.0, 9], [1, 0], [0, 3], [-2, 0]], -1 / 3),
    ],
)
def test_the_similarity_of_tokens_leaves_out_prefix_and_length(tokens, expected):
    similarity = token_similarity(Tokens(torch.tensor([tokens])), torch.zeros(3, 1))
    torch.testing.assert_close(similarity, torch.full((3,), expected))


def test_one_token_has_no_similarity():
    assert token_similarity(Tokens(torch.ones(1, 2, 4)), torch.zeros(3, 1)).isnan().all()


def test_a_collapsed_encoder_is_seen():
    model = tiny_model()
    healthy = check_evaluator(FeatureSpreadEvaluator(), model, ShapesDataset(12, model.encoder.img_size))
    for parameter in model.encoder.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(model.encoder.norm.bias)
    collapsed = check_evaluator(FeatureSpreadEvaluator(), model, ShapesDataset(12, model.encoder.img_size))
    assert healthy["rankme"] > 1.01 > collapsed["rankme"]
    assert healthy["feature_deviation"] > 1e-4 > collapsed["feature_deviation"]
    assert healthy["token_similarity"] < 0.9999 < collapsed["token_similarity"]


class Colours(nn.Module):
    """Encodes each patch as the shares of its pixels' classes, which it is given as images."""

    num_prefix_tokens = 0

    def grid_of(self, images):
        return images.shape[2] // 4, images.shape[3] // 4

    def forward(self, images):
        return nn.functional.avg_pool2d(images, 4).flatten(2).transpose(1, 2)


class Knowing(nn.Module):
    """A model whose features are the truth."""

    def __init__(self, known=True):
        super().__init__()
        self.encoder, self.known = Colours(), known

    def data_preprocessor(self, batch):
        one_hot = nn.functional.one_hot(batch["semantic"], 8).permute(0, 3, 1, 2).float()
        return {"images": one_hot if self.known else torch.ones_like(one_hot)}

    def forward(self, images, mode):
        return self.encoder(images)


@pytest.mark.parametrize("patches", [400, 20_000])
def test_features_that_know_the_classes_segment_and_others_do_not(patches):
    images, bank = ShapesSegmentation(6, (32, 48), seed=1), ShapesSegmentation(20, (32, 48))
    evaluator = PatchKnnEvaluator(k=5, bank_patches=patches)
    known, blind = (check_evaluator(evaluator, Knowing(known), images, bank)["knn_mean_iou"] for known in (True, False))
    assert known > 40 > 20 > blind


@pytest.mark.parametrize(
    ("images", "bank", "words"),
    [
        (ShapesDataset(6, 32), ShapesSegmentation(6, 32), "needs pixel classes, which a ShapesDataset"),
        (ShapesSegmentation(6, 32), ShapesDataset(6, 32), "needs pixel classes, which a ShapesDataset"),
        (ShapesSegmentation(6, 32), None, "has no images whose patches vote"),
    ],
)
def test_data_without_pixel_classes_is_refused(images, bank, words):
    with pytest.raises(UsageError, match=words):
        check_evaluator(PatchKnnEvaluator(), tiny_model(), images, bank)
