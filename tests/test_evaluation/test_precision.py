"""A model is evaluated in mixed precision on accelerators; its outputs are float32, and it stays as it is."""

import pytest
import torch

from maetool.evaluation.precision import evaluated_in
from maetool.models import ImageClassifier
from maetool.testing import tiny_batch, tiny_config


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return ImageClassifier(tiny_config()["encoder"], 5, head_std=1.0).eval()


@torch.no_grad()
def test_forward_passes_are_in_mixed_precision(classifier):
    images = classifier.data_preprocessor(tiny_batch())["inputs"].float()
    plain, tokens = classifier(images, mode="predict"), classifier.encoder(images)
    with torch.autocast("cpu", torch.bfloat16):
        expected = classifier(images, mode="predict")
    with evaluated_in(classifier, "bfloat16"):
        logits, short = classifier(images, mode="predict"), classifier.encoder(images)
        assert not torch.is_autocast_enabled("cpu")  # what is computed of the outputs is as precise as ever
    assert logits.dtype is short.dtype is torch.float32
    assert torch.equal(logits, expected) and not torch.equal(logits, plain) and not torch.equal(short, tokens)
    torch.testing.assert_close(logits, plain, atol=0.1, rtol=0.05)
    assert torch.equal(classifier(images, mode="predict"), plain) and "forward" not in vars(classifier)


@torch.no_grad()
def test_a_cpu_stays_in_float32(classifier):
    images = classifier.data_preprocessor(tiny_batch())["inputs"].float()
    with evaluated_in(classifier):
        assert "forward" not in vars(classifier)
        assert torch.equal(classifier(images, mode="predict"), classifier(images, mode="predict"))


def test_an_accelerator_is_in_bfloat16(classifier, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr("maetool.evaluation.precision._kind_of", lambda model: "cuda")
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype, enabled: seen.append((kind, dtype)) or torch.no_grad())
    before = torch.get_float32_matmul_precision()
    handle = classifier.encoder.register_forward_pre_hook(lambda *_: seen.append(torch.get_float32_matmul_precision()))
    with evaluated_in(classifier):
        classifier(torch.zeros(1, 3, 16, 32), mode="predict")
    handle.remove()
    assert seen[:2] == [("cuda", torch.bfloat16), "high"] and torch.get_float32_matmul_precision() == before
