"""Losses, features and pictures of batches that hold several views, several streams or clips."""

import numpy as np
import pytest
import torch
from torch import nn

from maetool.data import ImagePreprocessor
from maetool.data.datasets.broken_files import own_part
from maetool.errors import UsageError
from maetool.evaluation import pixel_features, token_features
from maetool.evaluation.losses import LossEvaluator
from maetool.structures import MaskPlan
from maetool.testing import tiny_batch, tiny_model
from maetool.visualization.reconstruction import reconstruction_panel


class Batches(list):
    """What an evaluator is given: batches, and whom to tell of them."""

    def call_hook(self, name, **arguments):
        pass


def two_views(size):
    batch = tiny_batch(size)
    batch["inputs"] = {"other": batch["inputs"].flip(-1), "own": batch["inputs"]}
    return {**batch, "index": torch.arange(size)}


@pytest.fixture
def model():
    """A model that masks the view "own"."""
    model = tiny_model().eval()
    model.view = "own"
    return model


def test_the_loss_counts_samples_not_views(model):
    data = Batches([two_views(6), two_views(1)])
    losses = [model(**model.data_preprocessor(batch), mode="loss")["loss"].item() for batch in data]
    found = LossEvaluator().measure(model, data)["loss"]
    assert found == pytest.approx((6 * losses[0] + losses[1]) / 7)
    assert abs(found - sum(losses) / 2) > 1e-4


def test_replacements_of_broken_files_are_left_out_of_each_view(model):
    batch = {**two_views(3), "skipped": ["", "a.jpg: broken", ""], "note": {"names": ["a", "b", "c"]}}
    own = own_part(batch)
    for name in ("own", "other"):
        assert torch.equal(own["inputs"][name], batch["inputs"][name][[0, 2]])
    assert own["index"].tolist() == [0, 2] and own["note"] == {"names": ["a", "c"]}
    assert LossEvaluator().measure(model, Batches([batch]))["loss"] > 0


def test_features_of_views_are_those_of_the_own_view(model):
    images = model.data_preprocessor(two_views(3))["images"]
    expected = token_features(tiny_model().eval(), images["own"])
    assert torch.equal(token_features(model, images), expected)
    assert torch.equal(token_features(model, images["own"]), expected)  # pictures without views, as kNN has them
    assert torch.equal(pixel_features(model, images), pixel_features(model, images["own"]))


def test_features_of_streams_and_of_codes():
    streams = {"rgb": torch.rand(2, 3, 8, 8), "depth": torch.rand(2, 1, 4, 4)}
    found = pixel_features(nn.Identity(), streams)
    assert found.shape == (2, 3 * 64 + 16)
    assert torch.equal(found[:, 192:], streams["depth"].flatten(1))
    with pytest.raises(UsageError, match="consists of codes, not of pixels: remove pixels=True"):
        pixel_features(nn.Identity(), torch.zeros(2, 8, 8, dtype=torch.int64))


class Still(nn.Module):
    """Reconstructs clips of 4 x 16 x 16 pixels, of which patches of 2 x 8 x 8 are hidden, as black."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor, self.target = ImagePreprocessor((0, 0, 0), (1, 1, 1)), None

    def forward(self, images, data_samples, mode, statistics):
        scores = torch.arange(8.0).expand(len(images), -1)
        plan = MaskPlan.from_scores(scores, 6, (2, 2, 2))  # the last patch of the first frames, and of the last ones
        return {"plan": plan, "reconstruction": torch.zeros_like(images)}


def test_of_a_clip_the_middle_frame_is_drawn():
    clip = torch.arange(4, dtype=torch.uint8).view(1, 1, 4, 1, 1).expand(2, 3, 4, 16, 16) * 60
    model = Still()
    panel = reconstruction_panel(model, {"inputs": clip})
    hidden = model(clip.float(), {}, "", "")["plan"].mask_at((4, 16, 16))[0, 2].numpy()
    assert 0 < hidden.mean() < 1
    original, masked, predicted, pasted = (panel[26 : 26 + 128 : 8, 6 + c * 134 :][:, :128:8] for c in range(4))
    assert (original == 120).all()
    blue, hidden = np.array([72, 104, 160]), hidden[..., None]  # the clip is grey
    assert np.array_equal(masked, np.where(hidden, blue, 120))
    assert np.array_equal(predicted, np.where(hidden, 0, blue))
    assert np.array_equal(pasted, np.where(hidden, 0, 120).repeat(3, -1))


def test_the_own_view_is_drawn(model):
    model.target.norm_pix_loss = False
    alone = reconstruction_panel(tiny_model(target={"norm_pix_loss": False}), tiny_batch(2))
    assert np.array_equal(reconstruction_panel(model, two_views(2)), alone)


@pytest.mark.parametrize("inputs", [{"rgb": torch.zeros(1, 3, 8, 8)}, torch.zeros(1, 3, 8)])
def test_other_data_is_not_drawn(inputs):
    with pytest.raises(UsageError, match=r"images or clips.*but the data is (rgb|a tensor of 3 axes)"):
        reconstruction_panel(tiny_model(), {"inputs": inputs})
