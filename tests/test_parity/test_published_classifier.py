"""The numbers of the published fine-tuning (tests/data/README.md says where they come from)."""

import numpy as np
import pytest
import torch

from maetool.encoders import VisionTransformer
from maetool.models import ImageClassifier
from maetool.weights.formats.mae import from_published, is_published, to_published


def load(data_dir, name):
    return {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(data_dir / f"{name}.npz").items()}


@pytest.fixture(params=["avg", "cls"])
def case(request, data_dir):
    golden = load(data_dir, f"vit_finetune_{request.param}")
    encoder = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3, pos_embed="learned")
    model = ImageClassifier(encoder, 5, pooling=request.param, own_norm=request.param == "avg").eval()
    state = {key.removeprefix("state/"): value for key, value in golden.items() if key.startswith("state/")}
    return golden, model, state


def test_features_and_logits(case):
    golden, model, state = case
    assert is_published(state)
    model.load_state_dict(from_published(state))  # strict: nothing missing, nothing left over
    torch.testing.assert_close(model(golden["imgs"], mode="tensor"), golden["feature"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(golden["imgs"], mode="predict"), golden["logits"], atol=1e-5, rtol=1e-5)


def test_names_round_trip(case):
    _, model, state = case
    assert set(to_published(model.state_dict())) == set(state)
    assert not is_published(model.state_dict())


def test_names_of_the_linear_probe_round_trip():
    encoder = VisionTransformer(img_size=32, patch_size=8, embed_dim=48, depth=2, num_heads=3)
    model = ImageClassifier(encoder, 5, pooling="cls", frozen=True, batch_norm=True)
    published = to_published(model.state_dict())
    assert {"head.0.running_mean", "head.1.weight", "norm.weight", "cls_token"} <= set(published)
    assert from_published(published).keys() == model.state_dict().keys()
