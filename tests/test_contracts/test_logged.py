"""Numbers that only logs read are left out of steps that are not reported; the loss stays what it is."""

import pytest
import torch
from test_builtin_parts import FACTS, parts

from maetool.models import ImageClassifier, ImageRegressor, Segmentor
from maetool.registry import HEADS, build_part
from maetool.structures import MaskPlan
from maetool.structures.logged import logged_values, only_logged
from maetool.testing import tiny_config

FREE = {"loss", "similarity", "mean_entropy"}  # by-products of the loss


def check(compute):
    full = compute()
    with logged_values(False):
        short = compute()
    assert torch.equal(full["loss"], short["loss"]) and set(short) <= FREE
    return set(full) - set(short)


@pytest.mark.parametrize("name", parts(HEADS))
def test_heads(name):
    options = {"head": {"type": "RegressionHead"}, "out_dims": {"image": 12}} if name == "StreamHead" else {}
    head = build_part({"type": name}, HEADS, {**FACTS, "out_dim": 12, **options}).eval()
    plan = MaskPlan.from_scores(torch.rand(3, 12, generator=torch.Generator().manual_seed(0)), 3, (2, 6))
    generator = torch.Generator().manual_seed(1)
    pred, numbers = (torch.randn(3, 9, 12, generator=generator) for _ in range(2))
    target = numbers.argmax(dim=-1) if head.takes_tokens else numbers.softmax(dim=-1)
    logged = check(lambda: head(pred, target, plan))
    assert logged or name == "SimilarityHead"


def test_models_of_labels():
    encoder, images = tiny_config()["encoder"], torch.zeros(4, 3, 16, 32)
    labels = {"label": torch.arange(4), "semantic": torch.zeros(4, 16, 32, dtype=torch.int64)}
    for kind, arguments, logged in (
        (ImageClassifier, (5,), "accuracy"),
        (ImageRegressor, (1,), "constant_predictor"),
        (Segmentor, (5, {"type": "LinearMapHead"}), "accuracy"),
    ):
        model = kind(encoder, *arguments).eval()
        full = model(images, labels)
        with logged_values(False):
            short = model(images, labels)
        assert torch.equal(full["loss"], short["loss"]) and logged in full.keys() - short.keys()


def test_outside_of_training_everything_is_computed():
    with pytest.raises(ValueError), logged_values(False):
        raise ValueError
    logged = only_logged(lambda: {"x": torch.ones(1, requires_grad=True) * 2})
    assert not logged["x"].requires_grad
