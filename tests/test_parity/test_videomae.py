"""The numbers of MCG-NJU/VideoMAE, and of its port to transformers (tests/data/README.md)."""

import re

import numpy as np
import pytest
import torch
from golden import close, load, load_all
from torch import nn
from videomae_model import check_step, videomae

from maetool.data.transforms.preprocessor import IMAGENET_MEAN, IMAGENET_STD
from maetool.encoders import VisionTransformer
from maetool.maskers import TubeMasker
from maetool.models import ImageClassifier
from maetool.ops.pos_embed import flat_pos_embed
from maetool.structures import MaskPlan
from maetool.targets import PictureTarget, PixelTarget

HF = {
    "videomae.embeddings.patch_embeddings.projection": "encoder.patch_embed.proj",
    "videomae.encoder.layer": "encoder.blocks",
    "decoder.decoder_layers": "decoder.blocks",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.attention.query.bias": "attn.q_bias",
    "attention.attention.value.bias": "attn.v_bias",
}


def from_transformers(state):
    """Return a state of transformers under the names of VideoMAE, whose queries, keys and values are one map."""
    mine = {}
    for name, value in state.items():
        if match := re.match(r"(.*)attention\.attention\.(query|key|value)\.weight", name):
            parts = [state[f"{match[1]}attention.attention.{kind}.weight"] for kind in ("query", "key", "value")]
            name, value = f"{match[1]}attn.qkv.weight", torch.cat(parts)
        for old, new in HF.items():
            name = name.replace(old, new)
        mine[name] = value
    return mine


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "videomae")
    return golden, videomae(TubeMasker(0.75), state), MaskPlan.from_mask(golden["mask"], (8, 3, 3))


def test_positions(case, data_dir):
    golden, model, _ = case
    close(flat_pos_embed(48, 72), golden["pos_embed"])
    close(model.decoder.pos_embed, golden["decoder_pos_embed"])
    tables = np.load(data_dir / "video_tables.npz")
    rows = flat_pos_embed(384, 1568)[0, torch.from_numpy(tables["sinusoid_rows"])]
    close(rows, torch.from_numpy(tables["sinusoid_1568_384"]))


def test_tubes_hide_as_many_places_of_a_slice(data_dir):
    tables = np.load(data_dir / "video_tables.npz")
    counts = {name.split("/")[1]: value for name, value in tables.items() if name.startswith("tube_masked_per_slice/")}
    assert len(counts) == 5
    for ratio, count in counts.items():
        plan = TubeMasker(float(ratio))(torch.zeros(2, 3, 1, 1, 1), (8, 14, 14))
        assert plan.mask.view(2, 8, 196).sum(dim=2).eq(int(count)).all(), ratio


def test_step(case):
    golden, model, plan = case
    close(model.encoder.tokens(golden["clip"]), golden["tokens"])
    check_step(model, golden, plan)


def test_target_without_normalisation(case):
    golden, model, plan = case
    target = PictureTarget((2, 8, 8), norm_pix_loss=False, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    close(target(golden["clip"], plan), golden["plain/labels"])
    pred = model.decoder(model.encoder(golden["clip"], plan), plan)
    close(model.head(pred, golden["plain/labels"], plan)["loss"], golden["plain/loss"])
    pixels = PixelTarget((2, 8, 8), norm_pix_loss="channel")(golden["clip"], plan)
    assert 1e-6 < (pixels - golden["labels"]).abs().max() < 1e-3  # the statistics are those of each channel


def test_step_of_transformers(data_dir):
    golden, state = load(data_dir, "videomae_transformers")
    # The port has no norm between encoder and decoder: it leaves it to the classifier.
    model = videomae(TubeMasker(0.75), from_transformers(state), final_norm=False)
    for norm in model.modules():
        if isinstance(norm, nn.LayerNorm):
            norm.eps = float(golden["layer_norm_eps"])
    check_step(model, golden, MaskPlan.from_mask(golden["mask"], (8, 3, 3)))


def test_features_and_logits_of_the_classifier(data_dir):
    golden, state = load(data_dir, "videomae_finetune")
    sizes = ((16, 24, 24), (2, 8, 8), 3, 48, 2, 3)
    encoder = VisionTransformer(*sizes, pos_embed="flat", class_token=False, qkv_bias="qv", final_norm=False)
    model = ImageClassifier(encoder, 5, pooling="avg", own_norm=True).eval()
    mine = {n if n.startswith(("fc_norm", "head")) else f"encoder.{n}": v for n, v in state.items()}
    load_all(model, {**mine, "encoder.pos_embed": encoder.pos_embed})
    close(model(golden["clip"], mode="tensor"), golden["feature"])
    close(model(golden["clip"], mode="predict"), golden["logits"])
