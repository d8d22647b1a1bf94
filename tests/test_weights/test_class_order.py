"""The names of classes come from the checkpoint, or their order is said to be assumed."""

import logging
from types import SimpleNamespace

import pytest
import torch

from maetool.engine.runner import MaetoolRunner
from maetool.models import ImageClassifier

ENCODER = {"type": "VisionTransformer", "img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.mark.parametrize("meta", [None, {}, {"dataset_meta": {}}, {"dataset_meta": {"classes": ["zebra", "apple"]}}])
def test_who_names_the_classes(tmp_path, caplog, meta):
    model = ImageClassifier(ENCODER, num_classes=2)
    torch.save({"model": model.state_dict(), **({} if meta is None else {"meta": meta})}, tmp_path / "x.pth")
    runner = SimpleNamespace(
        bare_model=model,
        _resume=False,
        logger=logging.getLogger("here"),
        call_hook=lambda *_, **__: None,
        _on_first=lambda read: read(),
        loaded_classes=(),
    )
    with caplog.at_level(logging.WARNING, "here"):
        MaetoolRunner.load_checkpoint(runner, str(tmp_path / "x.pth"))
    known = bool((meta or {}).get("dataset_meta"))
    assert list(runner.loaded_classes) == (["zebra", "apple"] if known else [])
    assert ("their order is assumed to be that of the data" in caplog.text) is not known
    assert ('x["meta"] = {"dataset_meta": {"classes": [NAMES' in caplog.text) is not known
