"""The numbers of Alpha-VL/ConvMAE, pretraining and classifier (tests/data/README.md)."""

import re

import pytest
import torch
from golden import close, load, load_all

from maetool.backbones import feature_maps
from maetool.decoders import TransformerDecoder
from maetool.encoders import HybridTransformer
from maetool.heads import RegressionHead
from maetool.maskers import RandomMasker
from maetool.models import ImageClassifier, MaskedImageModel
from maetool.pretrained.encoder import load_encoder
from maetool.structures import MaskPlan
from maetool.targets import PixelTarget

SIZES = {"embed_dim": 32, "depth": 2, "num_heads": 4, "conv_dims": (8, 12), "conv_depths": (2, 1)}
NAMES = {
    r"patch_embed([123])\.": r"encoder.stage\1.",
    r"patch_embed4\.": "encoder.proj.",
    r"blocks([12])\.": r"encoder.stage\1.blocks.",
    r"blocks3\.": "encoder.blocks.",
    r"stage([12])_output_decode\.": r"encoder.fuse\1.",
    r"norm\.": "encoder.norm.",
    r"decoder_": "decoder.",
    r"mask_token": "decoder.mask_token",
}


def ours(state):
    """Return published weights, or gradients, under our names; convolutions that are linear maps here as such."""
    mine = {}
    for name, value in state.items():
        new = next(re.sub(old, new, name) for old, new in NAMES.items() if re.match(old, name))
        mine[new] = value.flatten(1) if value.ndim == 4 and not new.endswith("attn.weight") else value
    return mine


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "convmae")
    state = {name: value for name, value in state.items() if not name.endswith("pos_embed")}
    encoder, target = HybridTransformer(**SIZES), PixelTarget(16)
    decoder = TransformerDecoder(
        32, target.out_dim, encoder.grid, num_prefix_tokens=0, embed_dim=24, depth=1, num_heads=3
    )
    model = MaskedImageModel(RandomMasker(), encoder, decoder, target, RegressionHead())
    load_all(model, ours(state))
    return golden, model, MaskPlan.from_scores(golden["noise"], 49, (14, 14))


def test_latent_prediction_and_loss(case):
    golden, model, plan = case
    images = golden["imgs"].float()
    latent = model.encoder(images, plan)
    close(latent, golden["latent"])
    close(model.decoder(latent, plan), plan.take_predicted(golden["pred"].float()), tolerance=2e-3)  # of half precision
    close(model(images, plan=plan)["loss"], golden["loss"])


def test_positions(case):
    golden, model, _ = case
    close(model.encoder.pos_embed, golden["state/pos_embed"])
    close(model.decoder.pos_embed, golden["state/decoder_pos_embed"])


def test_gradients(case):
    golden, model, plan = case
    model(golden["imgs"].float(), plan=plan)["loss"].backward()
    parameters = dict(model.named_parameters())
    theirs = ours({name.removeprefix("grad/"): value for name, value in golden.items() if name.startswith("grad/")})
    assert len(theirs) == 10
    for name, gradient in theirs.items():
        close(parameters[name].grad, gradient)


@pytest.fixture
def classifier(case):
    golden, model, _ = case
    classifier = ImageClassifier(HybridTransformer(**SIZES), 5, pooling="avg", own_norm=True).eval()
    encoder = {f"encoder.{k}": v for k, v in model.encoder.state_dict().items() if not k.startswith("norm.")}
    mine = {name.removeprefix("finetune/"): value for name, value in golden.items() if name.startswith("finetune/")}
    classifier.load_state_dict(encoder | {n: v for n, v in mine.items() if n.startswith(("head.", "fc_norm."))})
    return golden, classifier


def test_features_and_logits_of_the_classifier(classifier):
    """The published classifier does not add the first two stages."""
    golden, model = classifier
    images = golden["imgs"].float()
    close(model(images, mode="tensor"), golden["finetune/feature"])
    close(model(images, mode="predict"), golden["finetune/logits"])


def test_the_classifier_trains_all_parameters_that_it_uses(classifier):
    golden, model = classifier
    model(golden["imgs"].float(), {"label": torch.tensor([2])})["loss"].backward()
    idle = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle


def test_every_way_to_features_of_whole_images(case, classifier, tmp_path):
    golden, model, _ = case
    images, (_, published) = golden["imgs"].float(), classifier
    expected = model.encoder.norm(published.encoder(images))  # the classifier's encoder has no norm
    close(model(images, mode="tensor"), expected)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "convmae.pth")
    config = {"model": {"encoder": {"type": "HybridTransformer", **SIZES}}}
    loaded = load_encoder({**config, "init_from": str(tmp_path / "convmae.pth")})
    close(loaded(images), expected)
    (dense,) = feature_maps(model.encoder, images, None)
    close(dense.flatten(2).transpose(1, 2), expected)


def test_the_sum_of_stages_as_before(case):
    golden, model, _ = case
    images, encoder = golden["imgs"].float(), HybridTransformer(**SIZES, fuse="always")
    encoder.load_state_dict(model.encoder.state_dict())
    assert (encoder(images) - model.encoder(images)).abs().max() > 0.5
    assert all(p.requires_grad for p in ImageClassifier(encoder, 5).parameters())
