"""Checkpoints of earlier versions, whose encoders computed something else by default."""

import pytest
import torch
from mmengine import Config
from runs import make_runner

import maetool
from maetool.config.load import load_config
from maetool.errors import UsageError
from maetool.pretrained.export import encoder_of
from maetool.pretrained.frozen import load_frozen
from maetool.pretrained.model import load_model
from maetool.registry import MODELS
from maetool.weights.read import read_checkpoint
from maetool.weights.write import write_checkpoint

ENCODER = {
    "type": "HybridTransformer",
    **{"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2, "conv_dims": (8, 16)},
}
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
PREPROCESSOR = {"type": "ImagePreprocessor"}
CLASSIFIER = {"type": "ImageClassifier", "encoder": ENCODER, "num_classes": 3, "data_preprocessor": PREPROCESSOR}
PRETRAINING = {
    "type": "MaskedImageModel",
    "encoder": ENCODER,
    "masker": {"type": "RandomMasker"},
    "decoder": {"type": "TransformerDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2},
    "target": {"type": "PixelTarget"},
    "head": {"type": "RegressionHead"},
    "data_preprocessor": PREPROCESSOR,
}


def with_fuse(settings, fuse):
    return {**settings, "encoder": {**settings["encoder"], "fuse": fuse}}


def trained(tmp_path, settings, version):
    """A model whose stages are summed, and its checkpoint, whose config does not say so."""
    model = MODELS.build(Config({"model": with_fuse(settings, "always")}).model).eval()
    meta = {"cfg": Config({"model": settings}).pretty_text, "versions": {"maetool": version}}
    path = tmp_path / "trained.pth"
    write_checkpoint({"meta": meta, "state_dict": model.state_dict()}, path)
    return model, path


@torch.no_grad()
def test_a_classifier_of_the_first_version_sums_the_stages(tmp_path):
    model, path = trained(tmp_path, CLASSIFIER, "0.1.0")
    assert torch.equal(load_frozen(path)(IMAGES, mode="predict"), model(IMAGES, mode="predict"))
    assert torch.equal(maetool.load_encoder(path)(IMAGES), model.encoder(IMAGES))
    assert encoder_of(read_checkpoint(path), str(path))["meta"]["encoder"]["fuse"] == "always"


@torch.no_grad()
@pytest.mark.parametrize(("settings", "version"), [(CLASSIFIER, maetool.__version__), (PRETRAINING, "0.1.0")])
def test_others_give_the_last_stage(tmp_path, settings, version):
    model, path = trained(tmp_path, settings, version)
    tokens = maetool.load_encoder(path)(IMAGES)
    assert not torch.allclose(tokens, model.encoder(IMAGES), atol=1e-3)
    model.encoder.fuse = "pretraining"
    assert torch.equal(tokens, model.encoder(IMAGES))


def test_a_config_must_say_it(tmp_path, monkeypatch):
    monkeypatch.setattr("maetool.pretrained.model.prepare_config", lambda cfg, **_: None)
    model, path = trained(tmp_path, CLASSIFIER, "0.1.0")
    sentence = r"trained\.pth was trained with maetool 0\.1\.0, whose HybridTransformer always behaved as with "
    sentence += r"fuse='always': add --cfg-options model\.encoder\.fuse=always\.$"
    for load in (lambda cfg: load_frozen(path, cfg), lambda cfg: load_model(cfg, str(path))):
        with pytest.raises(UsageError, match=sentence):
            load(Config({"model": CLASSIFIER}))
        loaded = load(Config({"model": with_fuse(CLASSIFIER, "always")}))
        assert torch.equal(loaded(IMAGES, mode="predict"), model(IMAGES, mode="predict"))


def test_a_run_that_takes_all_weights_must_say_it(tmp_path, repository):
    config = "configs/finetune/vit-t_shapes.py"
    cfg = load_config(repository / config)
    settings = {**cfg.model.to_dict(), "encoder": {**ENCODER, "img_size": 32}, "pooling": "avg"}
    _, path = trained(tmp_path, settings, "0.1.0")
    runner = make_runner(repository, tmp_path / "run", config=config, sections={"model": settings})
    with pytest.raises(UsageError, match=r"add --cfg-options model\.encoder\.fuse=always\.$"):
        runner.load_checkpoint(str(path))
