"""The numbers of MCG-NJU/VideoMAE: tubes, positions of the flat index, mask tokens behind the visible ones."""

import numpy as np
import pytest
import torch
from golden import close, load, load_all

from maetool.decoders import PredictorDecoder
from maetool.encoders import VisionTransformer
from maetool.models import ImageClassifier
from maetool.ops.pos_embed import flat_pos_embed
from maetool.structures import MaskPlan

NAMES = {"encoder_to_decoder.": "embed.", "decoder.head.": "pred.", "decoder.": ""}


def ours(name):
    return next((name.replace(old, new, 1) for old, new in NAMES.items() if name.startswith(old)), name)


@pytest.fixture
def case(data_dir):
    golden, state = load(data_dir, "videomae")
    encoder = VisionTransformer(
        (16, 24, 24), (2, 8, 8), 3, 48, 2, 3, pos_embed="flat", class_token=False, qkv_bias="qv"
    )
    decoder = PredictorDecoder(48, 384, (8, 3, 3), 0, 32, 2, 4, pos_embed="flat", embed_bias=False, qkv_bias="qv")
    own = {n.removeprefix("encoder."): v for n, v in state.items() if n.startswith("encoder.")}
    load_all(encoder, {"pos_embed": golden["pos_embed"], **own})
    load_all(decoder, {ours(n): v for n, v in state.items() if not n.startswith("encoder.")})
    return golden, encoder, decoder, MaskPlan.from_mask(golden["mask"], (8, 3, 3))


def test_positions(case, data_dir):
    golden, _, decoder, _ = case
    close(flat_pos_embed(48, 72), golden["pos_embed"])
    close(decoder.pos_embed, golden["decoder_pos_embed"])
    tables = np.load(data_dir / "video_tables.npz")
    rows = flat_pos_embed(384, 1568)[0, torch.from_numpy(tables["sinusoid_rows"])]
    close(rows, torch.from_numpy(tables["sinusoid_1568_384"]))


def test_tokens_latent_and_prediction(case):
    golden, encoder, decoder, plan = case
    close(encoder.tokens(golden["clip"]), golden["tokens"])
    latent = encoder(golden["clip"], plan)
    close(latent, golden["latent"])
    pred = decoder(latent, plan)
    close(pred, golden["pred"])
    close((pred - golden["labels"]).square().mean(), golden["loss"])


def test_features_and_logits_of_the_classifier(data_dir):
    golden, state = load(data_dir, "videomae_finetune")
    sizes = ((16, 24, 24), (2, 8, 8), 3, 48, 2, 3)
    encoder = VisionTransformer(*sizes, pos_embed="flat", class_token=False, qkv_bias="qv", final_norm=False)
    model = ImageClassifier(encoder, 5, pooling="avg", own_norm=True).eval()
    mine = {n if n.startswith(("fc_norm", "head")) else f"encoder.{n}": v for n, v in state.items()}
    load_all(model, {**mine, "encoder.pos_embed": encoder.pos_embed})
    close(model(golden["clip"], mode="tensor"), golden["feature"])
    close(model(golden["clip"], mode="predict"), golden["logits"])
