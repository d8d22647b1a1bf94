"""The command writes ONNX of complete models, for any size and in half precision where that is asked for."""

import runpy
import sys

import numpy as np
import pytest
import torch

from maetool.errors import UsageError
from maetool.models import ImageClassifier, Segmentor
from maetool.pretrained.graphs import read_onnx_facts, write_onnx
from maetool.pretrained.task import load_task
from maetool.weights.read import read_checkpoint

ENCODER = {"type": "VisionTransformer", "img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
CLASSIFIER = {"type": "ImageClassifier", "encoder": ENCODER, "num_classes": 3}
SEGMENTOR = {"type": "Segmentor", "encoder": ENCODER, "num_classes": 3, "decode_head": {"type": "LinearMapHead"}}
SEGMENTOR |= {"scales": [1.0, 2.0], "flip": True, "stride": 4}
KINDS = {"classifier": (ImageClassifier, CLASSIFIER), "segmentor": (Segmentor, SEGMENTOR)}


def saved(tmp_path, kind):
    torch.manual_seed(0)
    cls, section = KINDS[kind]
    model = cls(**{name: value for name, value in section.items() if name != "type"}).requires_grad_(False)
    for value in model.parameters():
        value.add_(0.1 * torch.randn_like(value))
    meta = {"cfg": f"model = {section!r}", "dataset_meta": {"classes": ["a", "b", "c"]}}
    torch.save({"state_dict": model.state_dict(), "meta": meta}, tmp_path / "x.pth")
    if kind == "segmentor":
        model.inference, model.scales, model.flip = "whole", (1.0,), False
    return tmp_path / "x.pth", model.eval()


@pytest.mark.parametrize(("kind", "dynamic", "half"), [("classifier", False, False), ("segmentor", True, True)])
def test_logits(tmp_path, monkeypatch, kind, dynamic, half):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path, model = saved(tmp_path, kind)
    out = tmp_path / "x.onnx"
    flags = ["--complete", *["--dynamic"] * dynamic, *["--half"] * half]
    monkeypatch.setattr(sys, "argv", ["export_encoder.py", str(path), "--out", str(out), *flags])
    runpy.run_module("maetool.commands.export_encoder", run_name="here")["main"]()
    session = onnxruntime.InferenceSession(str(out))
    images = torch.randn(3, 3, *((24, 40) if dynamic else (16, 16)), generator=torch.Generator().manual_seed(1))
    (logits,) = session.run(["logits"], {"images": images.numpy().astype(np.float16 if half else np.float32)})
    np.testing.assert_allclose(logits, model(images, mode="predict").numpy(), atol=2e-2 if half else 1e-5)
    assert logits.dtype == np.float32
    assert logits.shape == ((3, 3) if kind == "classifier" else (3, 3, *images.shape[2:]))
    assert read_onnx_facts(out)["classes"] == ["a", "b", "c"]


def test_half_of_weights(tmp_path, monkeypatch):
    path, _ = saved(tmp_path, "classifier")
    monkeypatch.setattr(sys, "argv", ["x", str(path), "--out", str(tmp_path / "e.safetensors"), "--half"])
    runpy.run_module("maetool.commands.export_encoder", run_name="here")["main"]()
    weights = read_checkpoint(tmp_path / "e.safetensors")["state_dict"]
    assert {value.dtype for value in weights.values()} == {torch.float16}


@pytest.mark.parametrize(("flags", "words"), [(["--logits"], "are for .onnx"), (["--dynamic"], "are for .onnx")])
def test_flags_of_another_ending(tmp_path, monkeypatch, flags, words):
    path, _ = saved(tmp_path, "classifier")
    monkeypatch.setattr(sys, "argv", ["x", str(path), "--out", str(tmp_path / "e.pth"), *flags])
    with pytest.raises(UsageError, match=words):
        runpy.run_module("maetool.commands.export_encoder", run_name="here")["main"]()


def test_an_encoder_has_no_logits(tmp_path):
    torch.save(
        {"state_dict": {}, "meta": {"encoder": ENCODER}} | {"model": torch.nn.Linear(1, 1).state_dict()},
        tmp_path / "x.pth",
    )
    with pytest.raises(UsageError, match="an encoder alone, which has no predictions"):
        load_task(tmp_path / "x.pth")


def test_one_size_cannot_be_dynamic(tmp_path):
    encoder = {
        "type": "TimmEncoder",
        "name": "vit_base_patch16_224",
        **{k: v for k, v in ENCODER.items() if k != "type"},
    }
    model = ImageClassifier(encoder, num_classes=2)
    with pytest.raises(UsageError, match=r"torch cannot export .* to ONNX .*leave --dynamic out"):
        write_onnx(model.eval(), {}, tmp_path / "x.onnx", "logits", dynamic=True)
